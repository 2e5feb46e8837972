"""Settings of EDG: those of the paper and ours, for the targets that have them and for any other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from openmm_diffsampler.targets import Target

from .settings import MOLECULE, from_preset, make_plain, require_choices, require_modest_networks

__all__ = ["EDGSettings", "edg_settings"]


@dataclass(frozen=True)
class EDGSettings:
    """Everything that a run of :class:`~openmm_diffsampler.samplers.EDG` is determined by, beside target and seed.

    Arguments:
        n_steps: optimisation steps.
        batch_size: configurations a step.
        learning_rate: of Adam; it rises over 200 steps and falls to nothing along a cosine, or stays if not `decay`.
        decay: see above.
        gradient_clip: largest norm of a gradient.
        ema_decay: of the averaged weights that samples are made with; 0 takes the last ones.
        decoder: ``"hamiltonian"``: trajectories with the forces of the target inside; ``"gaussian"``: a network, with
            steps down the energy if there are any.
        n_leapfrog: steps of a trajectory.
        epsilon: ε_0, in squared units of x: output noise and step size start at √(2ε_0), and are learnt.
        force_clip: largest force inside the decoder, in 1/units of x.
        scale: width that the decoder starts from and that counts as one, in the units of x.
        width, n_layers, n_blocks, n_waves: of the networks of the decoder.
        n_descent, descent_step: steps down the energy between start and trajectory, see
            :class:`~openmm_diffsampler.networks.Descent`; 0: none.
        curved_noise: output noise that is narrower where the energy is stiff, see
            :func:`~openmm_diffsampler.networks.decoder_output.denoised`; for up to about a hundred coordinates, none of
            which turns.
        length: ℓ of every :class:`~openmm_diffsampler.networks.EquivariantNetwork`, in the units of x.
        score_width, score_layers, score_waves: of the networks of the encoder.
        s_min, s_max: noise of the latent, which has unit width. s_min is best below the width of q(z | x), about
            √(2ε_0)/scale.
        form: of the encoder's loss, ``"denoising"`` or ``"implicit"``.
        n_times: levels of noise for each configuration of a step.
        adaptive_levels: draw levels by the size of their loss.
        beta_start: inverse temperature that training starts at, 1 for that of the target.
        beta_end: inverse temperature that it ends at, and that the decoder samples at.
        anneal_share: of the steps, over which it rises, evenly in its logarithm.
        n_cooling: levels of annealed importance sampling from `beta_end` to the target, see
            :class:`~openmm_diffsampler.samplers.cooling.Cooling`; 0, where `beta_end` is 1: none.
        n_cooling_leapfrog: steps of the trajectory of each level.
        score_clip: largest size of a row's force in the loss, in units of the median one, against outliers.
        n_final_steps: steps of the encoder once the decoder is done, for weights.
        n_pool: pairs of latent and configuration that these take.
        n_path_levels: steps of path weights.
        n_draws: latents of the encoder that the density of a sample is averaged over in path weights, beside the one
            that it was made from; 0: the published estimator.
        n_ode_steps, n_ode_draws: the same of probability-flow weights, whose draws are dear.
        n_exploration, n_chains, n_warmup, thinning: of the chains that whiten the coordinates of a molecule.
    """

    n_steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    decay: bool = True
    gradient_clip: float = 10.0
    ema_decay: float = 0.99
    decoder: str = "hamiltonian"
    n_leapfrog: int = 4
    epsilon: float = 0.01
    force_clip: float = 30.0
    scale: float = 1.0
    width: int = 64
    n_layers: int = 2
    n_blocks: int = 1
    n_waves: int = 0
    n_descent: int = 0
    descent_step: float = 1e-3
    curved_noise: bool = False
    length: float = 0.5
    score_width: int = 128
    score_layers: int = 3
    score_waves: int = 0
    s_min: float = 0.01
    s_max: float = 20.0
    form: str = "denoising"
    n_times: int = 4
    adaptive_levels: bool = True
    beta_start: float = 0.01
    beta_end: float = 1.0
    anneal_share: float = 0.7
    n_cooling: int = 0
    n_cooling_leapfrog: int = 5
    score_clip: float = 5.0
    n_final_steps: int = 2000
    n_pool: int = 16_384
    n_path_levels: int = 30
    n_draws: int = 16
    n_ode_steps: int = 100
    n_ode_draws: int = 3
    n_exploration: int = 1_000_000
    n_chains: int = 256
    n_warmup: int = 100
    thinning: int = 5

    def __post_init__(self) -> None:
        require_choices(self, _CHOICES)
        make_plain(self, _BOUNDS)
        n_decoding = self.n_blocks + self.n_leapfrog + 1
        require_modest_networks(self, [("width", "n_layers", n_decoding), ("score_width", "score_layers", 2)])
        if not self.s_min < self.s_max:
            raise ValueError(f"s_min is {self.s_min} and s_max {self.s_max}; they must rise")
        if self.beta_start > self.beta_end:
            raise ValueError(
                f"beta_start is {self.beta_start} and beta_end {self.beta_end}; training must not heat, raise beta_end"
            )
        if self.beta_end < 1 and not self.n_cooling:
            raise ValueError(
                f"beta_end is {self.beta_end} and n_cooling 0; samples need cooling to be those of the target"
            )
        if self.ema_decay >= 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be below 1")


_CHOICES = {"decoder": ("hamiltonian", "gaussian"), "form": ("denoising", "implicit")}
_BOUNDS = {"n_final_steps": (0, 10**9)}

#: What the paper says; sizes that it leaves open are ours.
_PAPER = EDGSettings(
    decay=False,
    ema_decay=0.0,
    form="implicit",
    n_times=1,
    adaptive_levels=False,
    beta_start=1.0,
    score_clip=1e6,
    n_leapfrog=5,
    n_path_levels=60,
    n_draws=0,
    n_ode_draws=0,
)

#: Of which nothing is known: modes are found where barriers are low, and trajectories lead samples to the target.
_ANY = EDGSettings(n_steps=2000, learning_rate=3e-3, beta_end=0.1, n_cooling=500)
#: Densities in the plane. Waves make the step from mode to mode steep; rings are learnt better without.
_PLANAR = EDGSettings(n_steps=1500, learning_rate=3e-3, scale=4.0)
#: Hot enough to share samples between modes, which come out uneven if they part in training.
_SHARED = replace(_PLANAR, beta_end=0.1, n_cooling=500)
_GRID = replace(_SHARED, n_waves=4)

_PRESETS = {
    "paper": {None: _PAPER},
    "default": {
        None: _ANY,
        "mog2": _GRID,
        "mog2i": replace(_SHARED, n_cooling=5000),  # modes of unequal width trade samples as they cool
        "mog6": _SHARED,
        "mog9": _GRID,
        "ring": _PLANAR,
        "rings": replace(_SHARED, beta_end=0.3),
        "gmm40": EDGSettings(
            n_steps=4000, learning_rate=3e-3, scale=20.0, width=128, n_waves=3, epsilon=0.05, score_waves=4,
            s_min=0.003, beta_start=0.002, beta_end=0.3, anneal_share=0.7, n_cooling=500,
        ),
        "dw4": EDGSettings(
            n_steps=3000, batch_size=384, learning_rate=5e-3, scale=2.5, length=2.0, n_descent=10, descent_step=3e-3,
            n_leapfrog=2, width=48, score_width=96, n_times=2, epsilon=0.02, curved_noise=True, beta_start=0.2,
            beta_end=0.3, anneal_share=0.3, n_final_steps=4000, n_draws=8, n_cooling=1000,
        ),
        "ising": EDGSettings(
            n_steps=2500, batch_size=96, learning_rate=3e-3, width=16, n_waves=3, score_width=16, score_layers=2,
            n_leapfrog=2, n_times=2, epsilon=0.02, beta_start=0.5, anneal_share=0.6, n_final_steps=1000, n_pool=4096,
        ),
        "lj13": EDGSettings(
            n_steps=3000, batch_size=64, learning_rate=5e-3, scale=2.0, length=0.5, n_descent=10, descent_step=3e-4,
            n_leapfrog=2, width=32, score_width=64, score_layers=2, n_times=2, epsilon=0.005, curved_noise=True,
            s_min=0.005, beta_start=0.2, beta_end=0.2, score_clip=20.0, n_final_steps=3000, n_pool=4096,
            n_path_levels=60, n_draws=3, n_cooling=3000, n_cooling_leapfrog=20,
        ),
        MOLECULE: EDGSettings(
            n_steps=3000, learning_rate=2e-3, width=192, score_width=256, n_leapfrog=2, beta_start=0.3, s_max=30.0,
        ),
    },
}  # fmt: skip


def edg_settings(target: Target, preset: str = "default", changes: Mapping[str, Any] | None = None) -> EDGSettings:
    """The settings of a preset for `target`, with `changes`.

    Raises:
        ValueError: an unknown preset, or settings out of their range.
        TypeError: an unknown setting.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> edg_settings(DoubleWell(), "paper").form
        'implicit'
    """
    return from_preset(_PRESETS, preset, target, changes, "EDG")
