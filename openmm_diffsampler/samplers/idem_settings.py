"""Settings of iDEM: those of the paper and ours, for the targets that have them and for any other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from openmm_diffsampler.targets import Target

from .settings import MOLECULE, from_preset, make_plain, require_choices, require_modest_networks

__all__ = ["IDEMSettings", "idem_settings"]


@dataclass(frozen=True)
class IDEMSettings:
    """Everything that a run of :class:`~openmm_diffsampler.samplers.IDEM` is determined by, beside target and seed.

    Arguments:
        n_steps: training steps.
        batch_size: noised configurations a step.
        learning_rate: of Adam; it rises over 200 steps and falls to nothing along a cosine, or stays if not `decay`.
        decay: see above.
        gradient_clip: largest norm of a gradient.
        ema_decay: of the averaged weights that samples are made with; 0 takes the last ones.
        width, n_layers: of the network.
        n_waves: of the :class:`~openmm_diffsampler.networks.MLP`.
        length: ℓ of the :class:`~openmm_diffsampler.networks.EquivariantNetwork`, in the units of x.
        s_min, s_max: noise at t = 0 and t = 1, in the units of x.
        schedule: shape of the :class:`~openmm_diffsampler.diffusion.NoiseSchedule`.
        unit: length that the network and the loss count in, in the units of x.
        preconditioned: learn what a Gaussian leaves, in the size that it has at each level
            (:class:`~openmm_diffsampler.networks.PreconditionedScore`); False learns the score itself.
        estimator: ``"equilibrium"``: the K draws include the clean configuration, and Hamiltonian steps on the
            posterior follow; no bias once the buffer is in equilibrium. ``"monte-carlo"``: K draws around x_t, as
            published.
        n_draws: K.
        n_trajectories, n_leapfrog: Hamiltonian trajectories on the posterior, and their steps.
        mixing: ``"optimal"``: the mix of target and denoising identity that has the least variance, measured level by
            level; ``"target"``: the target identity alone, as published.
        score_clip: largest norm of a particle's estimate times `unit`, or None.
        weighting: of the loss over levels: ``"likelihood"``: σ², so that the sum bounds the divergence of the samples;
            ``"published"``: (σ/unit)² + 0.001; ``"uniform"``.
        adaptive_levels: draw levels in proportion to the root mean square loss there, and correct by weights.
        initial: ``"annealed"``: the buffer starts with chains led to the target; ``"explored"``: with draws of
            :class:`~openmm_diffsampler.mcmc.InternalDiffusiveGibbs`, for molecules; ``"model"``: with samples of the
            untrained network, as published.
        n_exploration: evaluations that ``"explored"`` takes, warm-up included.
        n_chains, n_warmup, thinning: of its chains: how many, sweeps before the first draw, sweeps from draw to draw.
        buffer_size: configurations.
        refresh_every: steps of an inner loop; after it the network's samples go into the buffer.
        n_refresh: samples of an outer loop.
        n_refresh_levels: reverse steps of these.
        reweight: let them in by a Metropolis step between their paths and paths that noising makes of the buffer, which
            leaves the buffer in equilibrium; False appends them as they are, as published.
        n_levels: reverse steps of samples with weights; those without take half as many.
        noise_scale: of the reverse steps of unweighted samples, whose stiff directions an isotropic step leaves too
            wide. Weights always belong to the full noise.
        n_noiseless: their last steps that add no noise.
    """

    n_steps: int = 20_000
    batch_size: int = 256
    learning_rate: float = 5e-3
    decay: bool = True
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    width: int = 64
    n_layers: int = 3
    n_waves: int = 0
    length: float = 0.5
    s_min: float = 0.01
    s_max: float = 3.0
    schedule: str = "geometric"
    unit: float = 1.0
    preconditioned: bool = True
    estimator: str = "equilibrium"
    n_draws: int = 1
    n_trajectories: int = 4
    n_leapfrog: int = 5
    mixing: str = "optimal"
    score_clip: float | None = None
    weighting: str = "likelihood"
    adaptive_levels: bool = True
    initial: str = "annealed"
    n_exploration: int = 10_000_000
    n_chains: int = 256
    n_warmup: int = 100
    thinning: int = 5
    buffer_size: int = 8192
    refresh_every: int = 500
    n_refresh: int = 256
    n_refresh_levels: int = 100
    reweight: bool = True
    n_levels: int = 200
    noise_scale: float = 1.0
    n_noiseless: int = 0

    def __post_init__(self) -> None:
        require_choices(self, _CHOICES)
        make_plain(self, _BOUNDS)
        require_modest_networks(self, [("width", "n_layers", 1)])
        if self.estimator == "equilibrium" and self.initial == "model":
            raise ValueError(
                "estimator 'equilibrium' needs initial 'annealed' or 'explored': a buffer that is in equilibrium"
            )


_CHOICES = {
    "schedule": ("geometric", "linear", "cosine"),
    "estimator": ("equilibrium", "monte-carlo"),
    "mixing": ("optimal", "target"),
    "weighting": ("likelihood", "published", "uniform"),
    "initial": ("annealed", "explored", "model"),
}
#: Of a draw the clean configuration is the first.
_BOUNDS = {"n_draws": (1, 10**6)}

#: The published algorithm.
_PAPER = IDEMSettings(
    n_steps=100_000,
    batch_size=512,
    learning_rate=1e-3,
    decay=False,
    gradient_clip=0.5,
    ema_decay=0.0,
    width=128,
    n_layers=5,
    s_min=0.01,
    s_max=2.0,
    preconditioned=False,
    estimator="monte-carlo",
    n_draws=1000,
    n_trajectories=0,
    mixing="target",
    score_clip=20.0,
    weighting="uniform",
    adaptive_levels=False,
    initial="model",
    buffer_size=10_000,
    refresh_every=100,
    n_refresh=1000,
    n_refresh_levels=1000,
    reweight=False,
    n_levels=1000,
)

_PRESETS = {
    "paper": {
        None: _PAPER,
        "gmm40": replace(
            _PAPER, n_draws=500, learning_rate=5e-4, n_layers=3, s_min=5e-4, s_max=50.0, unit=50.0, score_clip=70.0,
            weighting="published",
        ),
        "dw4": replace(_PAPER, n_layers=3, s_min=1e-5, s_max=3.0),
        "lj13": replace(_PAPER, noise_scale=0.9),
        "lj55": replace(
            _PAPER, n_steps=200_000, batch_size=128, n_draws=100, n_refresh=128, s_min=0.5, s_max=4.0, noise_scale=0.5,
            n_noiseless=10,
        ),
        # No molecule was published. Ours are the coordinates, the noise, from a twentieth of a thermal width to half a
        # turn of a torsion, and the width of the perceptron; batch and draws are those of the largest published system.
        MOLECULE: replace(_PAPER, batch_size=128, n_draws=100, n_refresh=128, width=256, s_min=0.05, s_max=12.0),
    },
    "default": {
        None: IDEMSettings(),
        "gmm40": IDEMSettings(
            n_steps=12_000, batch_size=512, width=128, n_waves=4, s_min=0.05, s_max=80.0, n_draws=16, n_trajectories=1,
            n_levels=300,
        ),
        "dw4": IDEMSettings(
            n_steps=12_000, batch_size=512, s_min=0.02, s_max=6.0, length=2.0, n_draws=16, n_trajectories=2,
        ),
        "lj13": IDEMSettings(n_steps=20_000, n_layers=4, n_trajectories=8, noise_scale=0.98),
        "lj55": IDEMSettings(batch_size=32, n_refresh=32, n_refresh_levels=50, buffer_size=2048),
        MOLECULE: IDEMSettings(
            learning_rate=2e-3, width=256, n_layers=4, s_min=0.05, s_max=12.0, initial="explored", buffer_size=65_536,
        ),
    },
}  # fmt: skip


def idem_settings(target: Target, preset: str = "default", changes: Mapping[str, Any] | None = None) -> IDEMSettings:
    """The settings of a preset for `target`, with `changes`.

    Raises:
        ValueError: an unknown preset, or settings out of their range.
        TypeError: an unknown setting.

    Example:
        >>> from openmm_diffsampler import LennardJones
        >>> idem_settings(LennardJones(13), "paper", {"n_draws": 500}).n_draws
        500
    """
    return from_preset(_PRESETS, preset, target, changes, "iDEM")
