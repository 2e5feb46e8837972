"""The six densities in the plane that samplers are compared on: mixtures of Gaussians, one ring and five rings."""

import math

import torch

from ..base import Target
from .gaussian_mixture import GaussianMixture

__all__ = ["Ring", "mog2", "mog2i", "mog6", "mog9", "ring", "rings"]


class Ring(Target):
    r"""u(x) = min_i (|x| − r_i)²/(2σ²) for x in the plane: rings of radii r_i, all as deep.

    Halfway between two radii u has a kink. With the pieces [a_i, b_i] of the nearest radius,

    .. math:: Z = 2\pi \sum_i \int_{a_i}^{b_i} r\, e^{-(r - r_i)^2/2\sigma^2} dr

    is a sum of exponentials and error functions, so log Z is exact. Outer rings hold more, as their length does.

    Arguments:
        radii: positive, rising.
        width: σ.
        name: how reports call the density.
        dtype, device: of the evaluation.

    Raises:
        ValueError: radii that are no rising sequence of positive numbers, or a width that is not positive.

    Example:
        >>> target = Ring([1.0, 2.0], width=0.1)
        >>> target.reduced_potential(torch.tensor([[1.2, 0.0], [0.0, -2.1]]).double())
        tensor([2.0000, 0.5000], dtype=torch.float64)
        >>> x = target.sample(10_000, torch.Generator().manual_seed(0))
        >>> (target.mode(x) == 1).double().mean()  # 2/3, as the lengths of the rings are 1 to 2
        tensor(0.6688, dtype=torch.float64)
    """

    def __init__(self, radii, width, *, name="rings", dtype=torch.float64, device="cpu"):
        radii = torch.as_tensor(radii, dtype=torch.float64)
        if radii.ndim != 1 or not len(radii) or not (radii.isfinite() & (radii > 0)).all() or (radii.diff() <= 0).any():
            raise ValueError(f"radii are {radii.tolist()}; give a rising list of positive numbers")
        if not 0 < width < math.inf:
            raise ValueError(f"width is {width}; it must be positive")
        super().__init__((2,), name=name, dtype=dtype, device=device)
        self.radii, self.width = radii.to(dtype=dtype, device=device), float(width)
        between = (radii[1:] + radii[:-1]) / 2
        # Past 40 widths nothing is left of the outermost ring in double precision.
        self._edges = torch.cat([torch.zeros(1).double(), between, radii[-1:] + 40 * width])
        self._centres = radii
        self._masses = self._mass_below(self._edges[1:], torch.arange(len(radii)))
        self.log_Z = math.log(2 * math.pi * float(self._masses.sum()))

    def _parameters(self):
        return {"radii": self._centres.tolist(), "width": self.width}

    def _evaluate(self, x):
        r = x.square().sum(1).sqrt().clamp(min=1e-30)  # the centre has no direction
        gap = r - self.radii[(r[:, None] - self.radii).abs().argmin(1)]
        precision = 1 / self.width**2
        return 0.5 * precision * gap.square(), -(precision * gap / r)[:, None] * x

    def _mass_below(self, r, piece):
        """∫ t exp(−(t − r_i)²/2σ²) dt from the lower edge of each piece to `r`."""
        s, c = self.width, self._centres[piece]
        low, high = (self._edges[piece] - c) / s, (r - c) / s
        gaussians = (-0.5 * low**2).exp() - (-0.5 * high**2).exp()
        errors = (high / math.sqrt(2)).erf() - (low / math.sqrt(2)).erf()
        return s**2 * gaussians + c * s * math.sqrt(math.pi / 2) * errors

    def sample(self, n, generator):
        """Exact independent samples (n, 2): an even angle, and a radius by inversion of its distribution."""
        kwargs = {"generator": generator, "dtype": torch.float64, "device": self.device}
        piece = self._masses.to(self.device).multinomial(max(n, 1), replacement=True, generator=generator)[:n].cpu()
        wanted = torch.rand(n, **kwargs).cpu() * self._masses[piece]
        low, high = self._edges[piece], self._edges[piece + 1]
        for _ in range(60):  # halvings: down to the last digit
            middle = (low + high) / 2
            below = self._mass_below(middle, piece) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        radius = ((low + high) / 2).to(self.device)
        angle = 2 * math.pi * torch.rand(n, **kwargs)
        return torch.stack((radius * angle.cos(), radius * angle.sin()), 1).to(self.dtype)

    def mode(self, x):
        """Index of the nearest ring: (n, 2) → (n,) in 0 … n_rings−1."""
        r = self._validated(x).square().sum(1).sqrt()
        return (r[:, None] - self.radii).abs().argmin(1)


def mog2(*, name="mog2", dtype=torch.float64, device="cpu"):
    """MoG2: two Gaussians at (±5, 0), variance 0.5 each, weights equal; log Z = 0.

    Variance and distance are those of Wang, Guo, Wu & Zhou, arXiv:2401.02080; the places those of Song, Zhao & Ermon,
    "A-NICE-MC", NeurIPS 2017.

    Example:
        >>> mog2()
        GaussianMixture(name='mog2', event_shape=(2,), dtype=torch.float64)
    """
    return _known(
        GaussianMixture([[-5.0, 0.0], [5.0, 0.0]], math.sqrt(0.5), name=name, dtype=dtype, device=device), "mog2"
    )


def mog2i(*, name="mog2i", dtype=torch.float64, device="cpu"):
    """MoG2(i): two Gaussians of unequal width at (±5, 0), variances 1.5 and 0.3, weights equal; log Z = 0.

    Variances and distance are those of Wang et al., arXiv:2401.02080. Which of the two is the wider one is a matter of
    reflection.

    Example:
        >>> mog2i().scales[:, 0].square()
        tensor([1.5000, 0.3000], dtype=torch.float64)
    """
    scales = [math.sqrt(1.5), math.sqrt(0.3)]
    return _known(GaussianMixture([[-5.0, 0.0], [5.0, 0.0]], scales, name=name, dtype=dtype, device=device), "mog2i")


def mog6(*, name="mog6", dtype=torch.float64, device="cpu"):
    """MoG6: six Gaussians on a circle of radius 5, the first at (5, 0), variance 0.1 each, weights equal; log Z = 0.

    The variance is that of Wang et al., arXiv:2401.02080; the places are those of Song, Zhao & Ermon, "A-NICE-MC",
    NeurIPS 2017, whose Gaussians are wider.

    Example:
        >>> mog6().means[1]
        tensor([2.5000, 4.3301], dtype=torch.float64)
    """
    angles = [k * math.pi / 3 for k in range(6)]
    means = [[5 * math.cos(a), 5 * math.sin(a)] for a in angles]
    return _known(GaussianMixture(means, math.sqrt(0.1), name=name, dtype=dtype, device=device), "mog6")


def mog9(*, name="mog9", dtype=torch.float64, device="cpu"):
    """MoG9: nine Gaussians on the grid {−5, 0, 5}², variance 0.3 each, weights equal; log Z = 0.

    From Zhang & Chen, "Path integral sampler", ICLR 2022; Wang et al., arXiv:2401.02080, give the same variance.

    Example:
        >>> mog9().means[:3]
        tensor([[-5., -5.], [-5.,  0.], [-5.,  5.]], dtype=torch.float64)
    """
    grid = [-5.0, 0.0, 5.0]
    means = [[a, b] for a in grid for b in grid]
    return _known(GaussianMixture(means, math.sqrt(0.3), name=name, dtype=dtype, device=device), "mog9")


def ring(*, name="ring", dtype=torch.float64, device="cpu"):
    """Ring: u(x) = (|x| − 2)²/0.32.

    From Song, Zhao & Ermon, "A-NICE-MC", NeurIPS 2017, as printed there; their code divides by 0.16.

    Example:
        >>> round(ring().log_Z, 4)
        2.5337
    """
    return _known(Ring([2.0], 0.4, name=name, dtype=dtype, device=device), "ring")


def rings(*, name="rings", dtype=torch.float64, device="cpu"):
    """Five rings ("Ring5"): u(x) = min_i (|x| − i)²/0.04 for i = 1 … 5.

    From Song, Zhao & Ermon, "A-NICE-MC", NeurIPS 2017.

    Example:
        >>> rings().radii
        tensor([1., 2., 3., 4., 5.], dtype=torch.float64)
    """
    return _known(Ring([1.0, 2.0, 3.0, 4.0, 5.0], math.sqrt(0.02), name=name, dtype=dtype, device=device), "rings")


def _known(target, key):
    """The target, as the one whose settings samplers know by `key`."""
    target.preset_key = key
    return target
