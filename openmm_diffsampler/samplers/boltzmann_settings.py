"""Settings of the Boltzmann generator, for the targets that have them and for any other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openmm_diffsampler.targets import Target

from .settings import from_preset, make_plain, require_modest_networks

__all__ = ["BoltzmannSettings", "boltzmann_settings"]


@dataclass(frozen=True)
class BoltzmannSettings:
    """What a run of :class:`~openmm_diffsampler.samplers.BoltzmannGenerator` depends on, beside target and seed.

    Arguments:
        n_steps: training steps.
        batch_size: configurations a step.
        learning_rate: of Adam; it rises over 200 steps and falls to nothing along a cosine, or stays if not `decay`.
        decay: see above.
        gradient_clip: largest norm of a gradient.
        ema_decay: of the averaged weights that samples are made with; 0 takes the last ones.
        width, n_layers, n_components, n_circular_components, n_waves, n_real_waves: of the
            :class:`~openmm_diffsampler.networks.AutoregressiveDensity`.
        n_exploration: evaluations that exploration by Markov chains may take.
        n_chains, n_warmup, thinning: of the chains: how many, sweeps before the first draw, sweeps from draw to draw.
        scale: S of the wide Gaussian that anything but molecules is explored from, in the units of x.
        n_held_out: configurations that training never sees, at most a tenth of all; their weights
            are compared with those of samples.
        likelihood_until, variance_from: shares of the steps between which the loss turns from the likelihood to the
            squares of the log-weights.
        own_share, noised_share: shares of the batch, once it is the squares, that are samples of the generator itself
            and (of molecules) noised copies of configurations, one evaluation each. Any density will do for squares.
        n_own: how many of its last samples the generator's own ones are drawn from.
        outlier: log-weights further than this from their mean count by their distance, not its square.
        refresh_every: steps after which samples of the generator go into the buffer.
        n_refresh: how many.
    """

    n_steps: int = 8_000
    batch_size: int = 2048
    learning_rate: float = 2e-3
    decay: bool = True
    gradient_clip: float = 10.0
    ema_decay: float = 0.999
    width: int = 64
    n_layers: int = 2
    n_components: int = 4
    n_circular_components: int = 16
    n_waves: int = 4
    n_real_waves: int = 0
    n_exploration: int = 5_000_000
    n_chains: int = 256
    n_warmup: int = 100
    thinning: int = 2
    scale: float = 10.0
    n_held_out: int = 20_000
    likelihood_until: float = 0.01
    variance_from: float = 0.05
    own_share: float = 0.25
    noised_share: float = 0.5
    n_own: int = 16_384
    outlier: float = 2.0
    refresh_every: int = 20
    n_refresh: int = 4096

    def __post_init__(self) -> None:
        make_plain(self)
        require_modest_networks(self, [("width", "n_layers", 1)])
        if self.own_share + self.noised_share >= 1:
            raise ValueError(
                f"own_share and noised_share are {self.own_share} and {self.noised_share}; they must leave some rows"
            )
        if not self.likelihood_until <= self.variance_from:
            raise ValueError(
                f"likelihood_until is {self.likelihood_until} and variance_from {self.variance_from}; they must rise"
            )


_PRESETS = {
    "default": {
        None: BoltzmannSettings(),
        "gmm40": BoltzmannSettings(
            n_steps=3000,
            n_components=48,
            n_real_waves=4,
            n_exploration=10_000_000,
            n_chains=4000,
            n_warmup=5,
            scale=50.0,
        ),
        "dw4": BoltzmannSettings(n_steps=3000, n_components=16, n_real_waves=2, n_chains=4000, n_warmup=20, scale=4.0),
        "mw32": BoltzmannSettings(n_steps=3000, n_exploration=10_000_000, n_chains=4000, n_warmup=20, scale=3.0),
    },
}


def boltzmann_settings(
    target: Target, preset: str = "default", changes: Mapping[str, Any] | None = None
) -> BoltzmannSettings:
    """The settings of a preset for `target`, with `changes`.

    Raises:
        ValueError: an unknown preset, or settings out of their range.
        TypeError: an unknown setting.

    Example:
        >>> from openmm_diffsampler import gmm40
        >>> boltzmann_settings(gmm40(), changes={"n_steps": 100}).n_steps
        100
    """
    return from_preset(_PRESETS, preset, target, changes, "the Boltzmann generator")
