"""One sweep of diffusive Gibbs sampling: what the batched sampler, the OpenMM integrator and the move agree on."""

from dataclasses import dataclass
from math import isfinite

__all__ = ["STEP_ANGLE", "STEP_SIZE_JITTER", "Sweep", "level_name"]

#: Each trajectory's step size is drawn within this fraction of the nominal one, so that no orbit closes on itself.
STEP_SIZE_JITTER = 0.2

#: A step turns no coordinate about its tether by more than this (radians). Longer steps are stable and exact as well,
#: but kicks that far apart are accepted less, hardly at all near π. Of 1, 0.5 and 0.3, measured on 300 stiff
#: oscillators, 0.5 is the longest that leaves the acceptance above 0.8 at every scale.
STEP_ANGLE = 0.5

_DENOISERS = ("hmc", "mala")


@dataclass(frozen=True)
class Sweep:
    r"""The levels of a sweep and how each is denoised.

    From the largest noise scale s to the smallest, one level takes x to

    1. the noised configuration :math:`\tilde x = x + s\,\varepsilon`,
    2. the guess :math:`x' = \tilde x + s\,\varepsilon'`, which replaces x with probability
       :math:`\min(1, e^{u(x) - u(x')})`: the proposal density and the tether cancel,
    3. ``n_denoising_steps`` Hamiltonian trajectories through :math:`u(x) + |x - \tilde x|^2/2s^2`, each accepted with
       :math:`\min(1, e^{-\Delta H})`. A trajectory has ``n_leapfrog`` steps, each a kick by the score of u around the
       exact motion under the tether, along which a step goes no farther than half a radian.

    Only s = σ/α of the noise N(αx, σ²) matters. A proposal whose energy is not finite is rejected.

    Arguments:
        noise_scales: s of each level: a number, or one number a particle. A particle whose scale is 0 is neither noised
            nor tethered at that level.
        n_leapfrog: leapfrog steps of a trajectory, one evaluation each.
        n_denoising_steps: trajectories of a level.
        denoiser: ``"hmc"``, or ``"mala"`` for a single leapfrog step.

    Raises:
        ValueError: scales that are negative, not finite or all zero, counts below one, an unknown denoiser.

    References:
        Chen et al., Diffusive Gibbs Sampling, ICML 2024, arXiv:2402.03008.

    Example:
        >>> sweep = Sweep([0.01, [0.0, 0.05]], n_leapfrog=5)
        >>> sweep.noise_scales, sweep.evaluations
        (((0.0, 0.05), 0.01), 12)
    """

    noise_scales: tuple
    n_leapfrog: int = 5
    n_denoising_steps: int = 1
    denoiser: str = "hmc"

    def __post_init__(self):
        if self.denoiser not in _DENOISERS:
            raise ValueError(f"denoiser is {self.denoiser!r}; supported are {', '.join(map(repr, _DENOISERS))}")
        for name in ("n_leapfrog", "n_denoising_steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or value != int(value) or value < 1:
                raise ValueError(f"{name} is {value}; it must be a whole number of at least 1")
            object.__setattr__(self, name, int(value))  # a frozen dataclass is written to only here
        scales = [_scale(scale) for scale in self.noise_scales]
        object.__setattr__(self, "noise_scales", tuple(sorted(scales, key=root_mean_square, reverse=True)))
        if self.denoiser == "mala":
            object.__setattr__(self, "n_leapfrog", 1)

    @property
    def evaluations(self):
        """Energies with forces that a sweep needs."""
        return len(self.noise_scales) * (1 + self.n_denoising_steps * self.n_leapfrog)


def _scale(scale):
    values = [float(s) for s in scale] if hasattr(scale, "__len__") else [float(scale)]
    if not all(isfinite(s) and s >= 0 for s in values) or not any(values):
        shown = values[0] if len(values) == 1 else scale
        raise ValueError(f"noise scale is {shown}; it must be positive (for single particles it may be 0)")
    return tuple(values) if hasattr(scale, "__len__") else values[0]


def root_mean_square(scale):
    """The size of a noise scale: of the particles that it moves, where it is one number a particle."""
    if isinstance(scale, float):
        return scale
    moved = [s for s in scale if s]
    return (sum(s**2 for s in moved) / len(moved)) ** 0.5


def level_name(scale):
    """What reports call the level of this noise scale."""
    return f"noise {scale:.3g}" if isinstance(scale, float) else f"noise {min(scale):.3g}–{max(scale):.3g} by particle"
