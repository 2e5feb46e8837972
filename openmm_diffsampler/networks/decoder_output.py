"""The Gaussian that ends a decoder: as wide in every direction, or narrow where the energy is stiff."""

import math
from typing import NamedTuple

import torch

from openmm_diffsampler.diffusion.kernels import log_normal

from .curvature import hessian, made_definite

__all__ = ["DecoderOutput", "denoised"]

#: Least precision, in units of 1/δ²: where the energy curves down by more than 1/δ², there is no Gaussian.
_LEAST = 0.3
#: Largest precision, in the same units times that of the numbers, whose rounding must not reach the least one.
_MOST = 0.01
#: Largest Newton step, in units of δ√D.
_LONGEST = 10.0
#: Displacement of the differences that third derivatives are, in units of δ.
_DISPLACEMENT = 1e-3


class DecoderOutput(NamedTuple):
    r"""q(x | z) of n latents, Gaussians in the space of a target: N(μ, δ²), or N(μ, A⁻¹).

    Attributes:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        mean: μ (n, *event_shape).
        width: δ, a scalar tensor.
        root: (n, D, D) lower triangles L of the precision :math:`A = L L^\top`, or None: 1/δ².
    """

    target: object
    mean: torch.Tensor
    width: torch.Tensor
    root: torch.Tensor | None = None

    def at(self, noise):
        """x (n, *event_shape) for noise (n, *event_shape) that is standard normal in all of its numbers."""
        if self.root is None:
            return self.mean + self.width * self.target.project(noise).to(self.mean)
        away = torch.linalg.solve_triangular(self.root.mT, noise.to(self.root).flatten(1).unsqueeze(2), upper=True)
        return self.mean + self.target.project(away.reshape(noise.shape))

    def log_volume(self):
        """½ log |covariance| in the space of the target: (n,) or, where all have the same, a scalar."""
        d = self.target.n_degrees_of_freedom
        if self.root is None:
            return d * self.width.log()
        n_translations = self.root.shape[1] - d  # their precision is 1/δ²
        return -self.root.diagonal(dim1=1, dim2=2).log().sum(1) - n_translations * self.width.log()

    def log_density(self, away):
        """log q(x | z) of x − μ (n, *event_shape): (n,)."""
        if self.root is None:
            return log_normal(self.target, away / self.width, float(self.width))
        standardised = self.root.mT @ away.to(self.root).flatten(1).unsqueeze(2)
        d = self.target.n_degrees_of_freedom
        return -0.5 * standardised.square().sum((1, 2)) - self.log_volume() - 0.5 * d * math.log(2 * math.pi)


def denoised(target, y, width, beta):
    r"""The posterior of a configuration that became y by noise of width δ, harmonic around y:

    .. math:: p(x \mid y) \propto e^{-\beta u(x)}\,N(y; x, \delta^2) \approx N(\mu, A^{-1}), \qquad
              A = \frac{1}{\delta^2} + \beta \nabla\nabla u(y), \qquad \mu = y - \beta A^{-1} \nabla u(y).

    What is stiff is as narrow as in the Boltzmann density, and nothing is wider than δ by more than a factor 1.8, where
    the energy curves down: eigenvalues of A are at least 0.3/δ². Steps μ − y of more than 10 δ√D are shortened. Where
    ∇∇u overflows, as of particles on top of each other, A is 1/δ².

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` without periods.
        y: (n, *event_shape), in the space of the target.
        width: δ, a scalar tensor.
        beta: β.

    Returns:
        :class:`DecoderOutput` in the precision of the target, differentiable
        (:func:`~openmm_diffsampler.networks.curvature.hessian`).

    References:
        Tierney & Kadane, Accurate approximations for posterior moments, J. Am. Stat. Assoc. 81 (1986); the posterior is
        that of diffusive Gibbs sampling, arXiv:2402.03008.

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target = GaussianMixture([[0.0, 0.0]], scales=[[0.1, 5.0]])
        >>> output = denoised(target, torch.ones(1, 2).double(), torch.tensor(0.5), beta=1.0)
        >>> output.mean
        tensor([[0.0385, 0.9901]], dtype=torch.float64)
        >>> (1 / output.root.diagonal(dim1=1, dim2=2))
        tensor([[0.0981, 0.4975]], dtype=torch.float64)
    """
    y, width = y.to(target.dtype), width.to(target.dtype)
    noise, d = float(width.detach()), y[0].numel()
    one = torch.eye(d, dtype=y.dtype, device=y.device)
    centred = target.project(one.reshape(d, *y.shape[1:])).flatten(1)
    curvature = centred @ hessian(target, y, _DISPLACEMENT * noise) @ centred  # exactly in the space of the target
    finite = curvature.isfinite().all((1, 2), keepdim=True)
    curvature = torch.where(finite, curvature, 0.0)
    most = _MOST / torch.finfo(y.dtype).eps / noise**2
    a = made_definite(one / width**2 + beta * curvature, _LEAST / width**2, most)
    root = torch.linalg.cholesky(a)
    step = torch.cholesky_solve(beta * target.score(y).flatten(1).unsqueeze(2), root).squeeze(2)
    length = step.norm(dim=1, keepdim=True)
    step = step * (_LONGEST * noise * math.sqrt(d) / length.clamp(min=1e-30)).clamp(max=1)
    return DecoderOutput(target, target.project(y + step.reshape(y.shape)), width, root)
