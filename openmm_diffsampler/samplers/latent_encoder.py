"""Weights of a one-step generator's own samples, by a density of the latent given the sample."""

import math
from typing import NamedTuple

import torch

from openmm_diffsampler.networks import EquivariantNetwork, network_for

from .training import TrainingDivergedError

__all__ = ["LatentEncoder", "LatentMixture"]

#: Lengths of a Newton step that are tried, the best of which is taken.
_LENGTHS = (1.0, 0.3, 0.1)
#: Of Adam, for the guess.
_LEARNING_RATE = 1e-3


class LatentMixture(NamedTuple):
    """Densities of latents, a mixture of K Gaussians for each of n configurations, in a subspace of d dimensions.

    Attributes:
        log_shares: (K, n), all −∞ where there is none.
        modes: (K, n, d).
        roots: (K, n, d, d) upper triangles U with UᵀU their precisions.
        basis: (D, d) orthonormal directions of the subspace.
        event_shape: of a latent.
    """

    log_shares: torch.Tensor
    modes: torch.Tensor
    roots: torch.Tensor
    basis: torch.Tensor
    event_shape: tuple

    def log_density(self, z):
        """z (n, *event_shape) → (n,) in double precision."""
        away = z.flatten(1).double() @ self.basis - self.modes
        square = (self.roots @ away.unsqueeze(3)).square().sum((2, 3))
        log_volume = self.roots.diagonal(dim1=2, dim2=3).log().sum(2)
        log_normal = log_volume - 0.5 * square - 0.5 * away.shape[2] * math.log(2 * math.pi)
        return torch.logsumexp(self.log_shares + log_normal, 0)

    def draw(self, generator):
        """One latent of each configuration, (n, *event_shape); there is no telling which where no guess was found."""
        options = {"generator": generator, "dtype": torch.float64, "device": self.basis.device}
        shares = self.log_shares.exp().T
        k = torch.multinomial(torch.where(shares.sum(1, keepdim=True) > 0, shares, 1.0), 1, generator=generator)[:, 0]
        rows = torch.arange(len(k), device=k.device)
        noise = torch.randn(len(rows), self.modes.shape[2], 1, **options)
        a = self.modes[k, rows] + torch.linalg.solve_triangular(self.roots[k, rows], noise, upper=True).squeeze(2)
        return (a @ self.basis.T).reshape(-1, *self.event_shape)


class LatentEncoder(torch.nn.Module):
    r"""p_E(z | x) for samples x = g(z) + s ξ of a generator with Gaussian output.

    K networks guess z from x; Newton steps (Gauss–Newton, along the best of a few lengths) lead each guess down the
    cost :math:`c = \tfrac12|z|^2 + |x - g(z)|^2/2s^2` to a latent z_k(x), and

    .. math:: p_E(z \mid x) = \sum_k \pi_k\, N(z; z_k, A_k^{-1}), \qquad A = 1 + J^\top J/s^2, \qquad
              J = \partial g/\partial z, \qquad \pi_k \propto e^{-c_k} |A_k|^{-1/2}.

    All of it depends on x alone, so that

    .. math:: w = \frac{e^{-u(x)}\, p_E(z \mid x)}{N(z; 0, 1)\, N(x; g(z), s^2)}

    has E[w] = Z for any guess and any generator; where g is one to one and smooth over s, w = e^{−u}/q. Samples take
    its average over draws (:mod:`~openmm_diffsampler.samplers.marginal_density`). A sample whose
    latent is not found has a weight near zero: what g folds more often than there are guesses is paid for by the
    effective sample size.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` without periods.
        settings: :class:`~openmm_diffsampler.samplers.DiKLSettings`.

    References:
        Tierney & Kadane, Accurate approximations for posterior moments, J. Am. Stat. Assoc. 81 (1986), for Gaussians at
        optima; the estimator is that of an auxiliary variable, as in variational autoencoders.
    """

    def __init__(self, target, settings):
        super().__init__()
        self.target, self.settings = target, settings
        size = {"width": settings.encoder_width, "n_layers": settings.encoder_layers}
        size |= {"n_waves": settings.score_waves, "length": settings.length}
        made = []
        for _ in range(settings.n_guesses):
            network = network_for(target, **size)
            last = network.push if isinstance(network, EquivariantNetwork) else network.last
            torch.nn.init.normal_(last.weight, std=0.1 / settings.encoder_width**0.5)  # guesses must differ to part
            made.append(network)
        self.networks = torch.nn.ModuleList(made)
        self.log_width = torch.nn.Parameter(torch.zeros(()))

    def guesses(self, x):
        """z (n_guesses, n, *event_shape) from x."""
        inner = x if isinstance(self.networks[0], EquivariantNetwork) else x / self.settings.scale
        nothing = torch.zeros(len(x), dtype=torch.float32, device=x.device)
        found = torch.stack([network(inner.float(), nothing) for network in self.networks])
        return x / self.settings.scale + found.to(x.dtype)

    def fit(self, pairs, n_steps, batch_size, generator):
        """Fit the guesses to pairs z, x of the generator, by the likelihood of z among Gaussians around them.

        Yields the loss of each step.

        Raises:
            TrainingDivergedError: a loss is not finite.
        """
        z, x = pairs
        optimizer = torch.optim.Adam(self.parameters(), lr=_LEARNING_RATE)
        d = self.target.n_degrees_of_freedom
        for step in range(n_steps):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / n_steps))
            rows = torch.randint(len(z), (batch_size,), generator=generator, device=z.device)
            square = (self.guesses(x[rows]) - z[rows]).flatten(2).square().sum(2)
            loss = -torch.logsumexp(-0.5 * square * (-2 * self.log_width).exp(), 0).mean() + d * self.log_width
            if not loss.isfinite():
                raise TrainingDivergedError(f"the loss of the encoder is not finite at step {step} of its fit")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield float(loss.detach())

    @torch.no_grad()
    def latents(self, g, x):
        """:class:`LatentMixture` of x (n, *event_shape); `g` is the generator, z → x."""
        basis = self._basis(x)
        found = [self._mode(g, guess, basis, x) for guess in self.guesses(x)]
        modes, precisions, cost = (torch.stack(values) for values in zip(*found, strict=True))
        roots, failed = torch.linalg.cholesky_ex(precisions, upper=True)
        evidence = -cost - roots.diagonal(dim1=2, dim2=3).log().sum(2)  # log e^{−c}|A|^{−1/2}
        # A guess that ran off has no part in the density.
        lost = ~(evidence.isfinite() & modes.isfinite().all(2) & (failed == 0))
        one = torch.eye(modes.shape[2], dtype=torch.float64, device=x.device)
        return LatentMixture(
            torch.where(lost.all(0), -torch.inf, evidence.masked_fill(lost, -1e300).log_softmax(0)),
            torch.where(lost[..., None], 0.0, modes),
            torch.where(lost[..., None, None], one, roots),
            basis,
            self.target.event_shape,
        )

    def _mode(self, g, guess, basis, x):
        """Of one guess: z_k (n, d) in the basis, A (n, d, d), and c (n,)."""
        s = self.settings.output_noise
        a = self.target.project(guess).flatten(1) @ basis
        for _ in range(self.settings.n_newton):
            precision, there, jacobian = self._precision(g, a, basis, x, s)
            slope = a - ((x - there).flatten(1) @ basis).unsqueeze(1).matmul(jacobian).squeeze(1) / s**2
            step = torch.linalg.solve(precision, slope)
            trials = torch.stack([a, *(a - length * step for length in _LENGTHS)])
            cost = torch.stack([self._cost(g, trial, basis, x, s) for trial in trials])
            best = torch.where(cost.isfinite(), cost, torch.inf).argmin(0)
            a = trials[best, torch.arange(len(a), device=a.device)]
        precision, _, _ = self._precision(g, a, basis, x, s)
        return a, precision, self._cost(g, a, basis, x, s)

    def _basis(self, x):
        """(D, d) orthonormal directions of the subspace that the target lives in."""
        size = x[0].numel()
        every = torch.eye(size, dtype=torch.float64, device=x.device).reshape(size, *self.target.event_shape)
        projected = self.target.project(every).flatten(1)
        values, vectors = torch.linalg.eigh(projected)
        return vectors[:, values > 0.5]

    def _latent(self, a, basis):
        return (a @ basis.T).reshape(-1, *self.target.event_shape).float()

    def _cost(self, g, a, basis, x, s):
        there = g(self._latent(a, basis)).double()
        return 0.5 * (a.square().sum(1) + (x - there).flatten(1).square().sum(1) / s**2)

    def _precision(self, g, a, basis, x, s):
        """A (n, d, d), g(z) (n, *event_shape) and J (n, d, d), column by column in forward mode."""
        columns, there, z = [], None, self._latent(a, basis)
        for direction in basis.T:
            tangent = direction.reshape(1, *self.target.event_shape).expand_as(z)
            there, column = torch.func.jvp(g, (z,), (tangent.float(),))
            columns.append(column.double().flatten(1) @ basis)
        jacobian = torch.stack(columns, 2)
        one = torch.eye(jacobian.shape[2], dtype=torch.float64, device=x.device)
        return one + jacobian.transpose(1, 2) @ jacobian / s**2, there.double(), jacobian
