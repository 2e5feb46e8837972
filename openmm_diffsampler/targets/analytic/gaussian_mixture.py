"""Mixtures of Gaussians, whose noised densities are mixtures too."""

import hashlib
import math

import torch

from ..base import Target

__all__ = ["GaussianMixture", "gmm40"]

#: Rounding error of u, in kT, that evaluating the square expanded may cost.
_TOLERANCE = 1e-10


class GaussianMixture(Target):
    r"""p(x) = Σ_k w_k N(x; μ_k, diag(s_k²)), normalised, so that u = −log p and log Z = 0.

    Noise keeps it a mixture: ∫p(y) N(x; αy, σ²I)dy = Σ_k w_k N(x; αμ_k, diag(α²s_k² + σ²)), which makes it the density
    to check learnt or estimated scores with.

    Arguments:
        means: (K, d) centres μ.
        scales: standard deviations s: one number, (K,) one a component, or (K, d).
        weights: (K,) not negative, normalised here; equal by default.
        name: how reports call the density.
        dtype, device: of the evaluation.

    Raises:
        ValueError: shapes that do not fit, scales that are not positive, weights that are negative or all zero, or
            NaN or infinite values.

    Example:
        >>> target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
        >>> target.reduced_potential(torch.tensor([[0.0]]))
        tensor([8.2258], dtype=torch.float64)
        >>> x = target.sample(1000, torch.Generator().manual_seed(0))
        >>> target.mode(x).double().mean()
        tensor(0.7460, dtype=torch.float64)
        >>> target.noised_score(torch.tensor([[2.0]]), alpha=1.0, sigma=1.0)
        tensor([[-0.0018]])
    """

    log_Z = 0.0

    def __init__(self, means, scales, weights=None, *, name="Gaussian mixture", dtype=torch.float64, device="cpu"):
        means = _finite("means", means)
        if means.ndim != 2 or 0 in means.shape:
            raise ValueError(f"means have shape {tuple(means.shape)}; give (n_components, n_dimensions)")
        super().__init__(means.shape[1:], name=name, dtype=dtype, device=device)
        self.means = means.to(dtype=dtype, device=device)
        self.scales = _scales(scales, means.shape).to(dtype=dtype, device=device)
        self.log_weights = _log_weights(weights, len(means)).to(dtype=dtype, device=device)
        self._is_expanded = self._keeps_digits_expanded()

    def _keeps_digits_expanded(self):
        """Whether μ²/s², which cancels from u of a sample where the square is expanded, leaves its digits alone."""
        if self.dtype == torch.float32:
            return False
        largest = float((self.means / self.scales).square().sum(1).max())
        return torch.finfo(self.dtype).eps * largest < _TOLERANCE

    def _parameters(self):
        numbers = torch.cat([self.means.flatten(), self.scales.flatten(), self.log_weights]).double().cpu().numpy()
        return {"density": hashlib.sha256(numbers.tobytes()).hexdigest()[:16]}

    def _evaluate(self, x):
        if not self._is_expanded:
            return self._mixture(x, self.means, self.scales**2)
        # The square of (x − μ)/s, expanded: products of matrices, and no array of all differences.
        precision = 1 / self.scales**2
        pull = self.means * precision
        constant = 0.5 * (self.means * pull - precision.log() + math.log(2 * math.pi)).sum(1)
        log_joint = torch.addmm(self.log_weights - constant, x, pull.T).addmm_(x.square(), precision.T, alpha=-0.5)
        log_density = log_joint.logsumexp(1)
        by_component = (log_joint - log_density[:, None]).exp()
        return -log_density, by_component @ pull - x * (by_component @ precision)

    def _mixture(self, x, means, variances):
        """−log density and score at `x` (n, d) of the mixture with (n or 1, K, d) means and variances."""
        z = (x[:, None] - means) / variances
        log_normal = -0.5 * (z * (x[:, None] - means) + variances.log() + math.log(2 * math.pi)).sum(-1)
        log_joint = self.log_weights + log_normal
        log_density = log_joint.logsumexp(1)
        return -log_density, -((log_joint - log_density[:, None]).exp()[..., None] * z).sum(1)

    def _noised(self, x, alpha, sigma):
        x = self._validated(x)
        alpha, sigma = self._noise_level("alpha", alpha, len(x)), self._noise_level("sigma", sigma, len(x))
        return self._mixture(x, alpha * self.means, (alpha * self.scales) ** 2 + sigma**2)

    def _noise_level(self, name, value, n):
        value = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        if value.numel() not in (1, n):
            raise ValueError(f"{name} has shape {tuple(value.shape)}; give one number, or one for each of the {n} rows")
        return value.reshape(-1, 1, 1)

    def noised_log_prob(self, x, alpha, sigma):
        """Exact log p_t(x) of p_t = ∫p(y) N(x; αy, σ²I)dy: (n, d) → (n,). Not counted as evaluations.

        Arguments:
            x: (n, d) tensor.
            alpha, sigma: scale of the signal and standard deviation of the noise: a number, or (n,).
        """
        return -self._noised(x, alpha, sigma)[0]

    def noised_score(self, x, alpha, sigma):
        """Exact ∇log p_t(x), arguments as for :meth:`noised_log_prob`: (n, d) → (n, d)."""
        return self._noised(x, alpha, sigma)[1].to(x.dtype)

    def sample(self, n, generator):
        """Exact independent samples (n, d)."""
        component = self.log_weights.exp().multinomial(max(n, 1), replacement=True, generator=generator)[:n]
        noise = torch.randn(n, *self.event_shape, generator=generator, dtype=self.dtype, device=self.device)
        return self.means[component] + self.scales[component] * noise

    def mode(self, x):
        """Index of the nearest component centre: (n, d) → (n,) in 0 … K−1."""
        how = "use_mm_for_euclid_dist_if_necessary" if self._is_expanded else "donot_use_mm_for_euclid_dist"
        return torch.cdist(self._validated(x), self.means, compute_mode=how).argmin(1)


def gmm40(*, name="gmm40", dtype=torch.float64, device="cpu"):
    """The mixture of 40 Gaussians in the plane that diffusion samplers are compared on.

    Centres are uniform in [−40, 40]² (seed 0), standard deviations softplus(1) = 1.3133, weights equal; log Z = 0.
    From Midgley et al., "Flow Annealed Importance Sampling Bootstrap", ICLR 2023.

    Example:
        >>> target = gmm40()
        >>> target
        GaussianMixture(name='gmm40', event_shape=(2,), dtype=torch.float64)
        >>> target.means[0]
        tensor([-0.2995, 21.4577], dtype=torch.float64)
    """
    # The numbers of torch.manual_seed(0); torch.rand((40, 2)), without touching the global generator.
    means = (torch.rand((40, 2), generator=torch.Generator().manual_seed(0)) - 0.5) * 2 * 40
    scale = torch.nn.functional.softplus(torch.tensor(1.0))
    return GaussianMixture(means, scale, name=name, dtype=dtype, device=device)


def _finite(name, values):
    values = torch.as_tensor(values, dtype=torch.float64)
    if not values.isfinite().all():
        raise ValueError(f"{name} contain NaN or infinite values")
    return values


def _scales(scales, shape):
    scales = _finite("scales", scales)
    if scales.shape not in (torch.Size([]), shape[:1], shape):
        raise ValueError(
            f"scales have shape {tuple(scales.shape)}; for means of shape {tuple(shape)} give one number, "
            f"{tuple(shape[:1])} or {tuple(shape)}"
        )
    if not (scales > 0).all():
        raise ValueError(f"scales must be positive; the smallest is {scales.min().item()}")
    return (scales[:, None] if scales.ndim == 1 else scales).expand(shape).clone()


def _log_weights(weights, n):
    weights = torch.ones(n, dtype=torch.float64) if weights is None else _finite("weights", weights)
    if weights.shape != (n,):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; give ({n},), one a component")
    if not (weights >= 0).all() or weights.sum() == 0:
        raise ValueError("weights must not be negative, nor all zero")
    return (weights / weights.sum()).log()
