"""Settings of DiKL: those of the paper and ours, for the targets that have them and for any other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from openmm_diffsampler.targets import Target

from .settings import MOLECULE, from_preset, make_plain, require_choices, require_modest_networks

__all__ = ["DiKLSettings", "dikl_settings", "published_ratios"]


@dataclass(frozen=True)
class DiKLSettings:
    """Everything that a run of :class:`~openmm_diffsampler.samplers.DiKL` is determined by, beside target and seed.

    Arguments:
        n_steps: outer steps, one of the generator each, at most.
        batch_size: samples a step, of the generator and of each inner step.
        learning_rate: of the generator's Adam; it rises over 200 steps and falls to nothing along a cosine, or stays if
            not `decay`.
        decay: see above.
        gradient_clip: largest norm of a gradient.
        ema_decay: of the averaged weights that samples are made with; 0 takes the last ones.
        patience: steps without a lower mean score gap after which training stops early; 0 never does.
        scale: width that the generator starts from and that counts as one, in the units of x.
        width, n_layers, n_blocks: of the :class:`~openmm_diffsampler.networks.Generator`.
        n_waves: of its MLP.
        length: ℓ of the :class:`~openmm_diffsampler.networks.EquivariantNetwork`, in the units of x.
        score_width, score_layers, score_waves: of the companion, the score network of the generator's samples; the
            waves are the encoder's, too.
        score_learning_rate: of its Adam.
        n_score_steps: inner steps of denoising score matching to each outer one.
        s_min, s_max: noise-to-signal ratios between which divergences are summed, in the units of x.
        s_prior: where the ladders of companion and diffusion model end, far above `s_max`.
        n_levels: of the published ladder, or 0 for a continuous one: ln s even between s_min and s_max.
        coarse_share: of the steps, over which the lowest level falls from s_max to s_min: modes are weighed before they
            part. Not with a ladder.
        beta_min, beta_max: first and last β of the published ladder, linear in between; s = scale·σ/α.
        weighting: w of the sum of divergences over ln s: ``"published"``: 1/α = √(1 + s²); ``"uniform"``; ``"even"``: 1
            over the root mean square of the differences of scores there, so that every level counts alike;
            ``"signal"``: s; ``"variance"``: s², which makes the step the difference of two denoised means.
        objective: ``"diffusive"``; ``"reverse-kl"``: one level at s_min with the score of the target itself there,
            plain reverse KL.
        posterior: how draws of p(x | x_t) start: ``"importance"``, ``"annealed"``, ``"generated"``: where x_t came
            from; ``"kept"``: likewise at first, and where they ended as long as latent, noise and level are kept.
        n_particles, n_anneal: of the starts; with ``"generated"`` the sample is one of the particles.
        n_coordinate_steps: steps of single coordinates, or particles, on the posterior, which lead from mode to mode.
        n_trajectories, n_leapfrog: Hamiltonian steps on it; one leapfrog step is MALA.
        step_size: where their sizes start, in the units of x.
        mixing: ``"optimal"`` or ``"unit"``, of both score identities.
        lifetime: steps that latents are kept for on average, with ``"kept"``.
        score_clip: largest size of a row's difference of scores, in units of the median one, against outliers.
        n_exploration, n_chains, n_warmup, thinning: of the chains that whiten the coordinates of a molecule.
        n_pool: configurations, of the latest steps, that the companion is fitted to; 0: new ones in every inner step,
            as published.
        n_final_steps: steps of diffusion model and encoder once the generator is done, for weights.
        n_refine, n_refine_leapfrog: Hamiltonian trajectories on the target itself, and their steps, after the pass of
            samples without weights, and of those that the diffusion model is fitted to: `n_pool` of them, or eight
            batches, for every 100 of its steps.
        path_width, path_layers, path_learning_rate: of the diffusion model that path weights are of; its waves are
            `score_waves`.
        n_path_levels: its reverse steps.
        output_noise: s of the Gaussian that ends the generator for encoder weights, in the units of x.
        encoder_width, encoder_layers: of the networks that guess the latent.
        n_guesses: how many there are.
        n_newton: steps that refine a guess.
        n_draws: latents of the encoder that the density of a sample is averaged over, beside the one that it was made
            from.
    """

    n_steps: int = 3000
    batch_size: int = 512
    learning_rate: float = 1e-3
    decay: bool = True
    gradient_clip: float = 10.0
    ema_decay: float = 0.99
    patience: int = 0
    scale: float = 1.0
    width: int = 64
    n_layers: int = 3
    n_blocks: int = 1
    n_waves: int = 0
    length: float = 0.5
    score_width: int = 64
    score_layers: int = 3
    score_waves: int = 0
    score_learning_rate: float = 1e-3
    n_score_steps: int = 5
    s_min: float = 0.1
    s_max: float = 3.0
    s_prior: float = 20.0
    n_levels: int = 0
    coarse_share: float = 0.0
    beta_min: float = 1e-4
    beta_max: float = 0.7
    weighting: str = "even"
    objective: str = "diffusive"
    posterior: str = "generated"
    n_particles: int = 16
    n_anneal: int = 10
    n_coordinate_steps: int = 0
    n_trajectories: int = 6
    n_leapfrog: int = 5
    step_size: float = 0.1
    mixing: str = "optimal"
    lifetime: int = 20
    score_clip: float = 5.0
    n_exploration: int = 1_000_000
    n_chains: int = 256
    n_warmup: int = 100
    thinning: int = 5
    n_pool: int = 4096
    n_final_steps: int = 6000
    n_refine: int = 20
    n_refine_leapfrog: int = 5
    path_width: int = 128
    path_layers: int = 3
    path_learning_rate: float = 2e-3
    n_path_levels: int = 200
    output_noise: float = 0.02
    encoder_width: int = 64
    encoder_layers: int = 3
    n_guesses: int = 4
    n_newton: int = 6
    n_draws: int = 100

    def __post_init__(self) -> None:
        require_choices(self, _CHOICES)
        make_plain(self, _BOUNDS)
        sizes = [("width", "n_layers", self.n_blocks), ("score_width", "score_layers", 1)]
        sizes += [("path_width", "path_layers", 1), ("encoder_width", "encoder_layers", self.n_guesses)]
        require_modest_networks(self, sizes)
        if not self.s_min < self.s_max < self.s_prior:
            raise ValueError(f"s_min, s_max and s_prior are {self.s_min}, {self.s_max}, {self.s_prior}; they must rise")
        n_following = self.n_coordinate_steps + self.n_trajectories
        if self.posterior != "annealed" and self.n_particles == 1 and not n_following:
            raise ValueError(
                f"posterior is {self.posterior!r}; it needs n_coordinate_steps, n_trajectories, or more n_particles"
            )
        if self.coarse_share and (self.n_levels or self.objective == "reverse-kl"):
            raise ValueError(
                f"coarse_share is {self.coarse_share}; it needs the continuous levels of the diffusive objective"
            )
        if self.n_levels:
            highest = self.scale * float(published_ratios(self.beta_min, self.beta_max, self.n_levels)[-1])
            if highest > self.s_max:
                raise ValueError(
                    f"the ladder of beta_max {self.beta_max} ends at s = {highest:.3g}, above s_max {self.s_max}"
                )


_CHOICES = {
    "weighting": ("published", "uniform", "even", "signal", "variance"),
    "objective": ("diffusive", "reverse-kl"),
    "posterior": ("importance", "annealed", "generated", "kept"),
    "mixing": ("optimal", "unit"),
}
_BOUNDS = {"n_levels": (0, 10**6), "n_pool": (0, 10**9)}


def published_ratios(beta_min: float, beta_max: float, n_levels: int) -> torch.Tensor:
    """s = σ/α of the published ladder, (n_levels,): β linear, α² the product of 1 − β.

    Example:
        >>> round(float(published_ratios(1e-6, 0.05, 30)[-1].square().add(1).rsqrt()), 3)  # α at the last level
        0.683
    """
    kept = (1 - torch.linspace(beta_min, beta_max, n_levels, dtype=torch.float64)).cumprod(0)
    return (1 / kept - 1).sqrt()


#: The published algorithm. Networks of particles are this package's, of the published width.
_PAPER = DiKLSettings(
    n_steps=100_000,
    batch_size=1024,
    decay=False,
    ema_decay=0.0,
    patience=10_000,
    width=400,
    n_layers=5,
    score_width=400,
    score_layers=5,
    score_learning_rate=1e-4,
    n_score_steps=50,
    s_min=0.01,
    s_max=2000.0,
    s_prior=4000.0,
    n_levels=30,
    weighting="published",
    posterior="annealed",
    n_particles=10,
    n_anneal=15,
    n_trajectories=5,
    n_leapfrog=1,
    mixing="unit",
    score_clip=1e6,
    n_pool=0,
    n_refine=0,
    path_width=400,
    path_layers=5,
    path_learning_rate=1e-3,
)
_PARTICLES = replace(
    _PAPER, learning_rate=5e-4, patience=500, width=144, n_layers=8, score_width=144, score_layers=4, n_score_steps=100,
    beta_min=1e-6, beta_max=0.05, weighting="uniform", n_trajectories=50, s_min=1e-3, s_max=1.2, s_prior=25.0,
    path_width=144, path_layers=4,
)  # fmt: skip

_PRESETS = {
    "paper": {
        None: _PAPER,
        "gmm40": replace(_PAPER, scale=20.0, s_min=0.2, s_max=40_000.0, s_prior=100_000.0),
        "mw32": replace(_PAPER, beta_max=0.15, s_min=0.01, s_max=3.2, s_prior=25.0),
        "dw4": replace(_PARTICLES, n_steps=2000, n_particles=20, n_anneal=10, length=2.0),
        "lj13": replace(
            _PARTICLES, n_steps=3000, batch_size=256, width=192, score_width=192, score_layers=8,
            path_width=192, path_layers=8, posterior="importance", n_particles=500, n_trajectories=1000,
        ),
    },
    "default": {
        None: DiKLSettings(),
        "gmm40": DiKLSettings(
            n_steps=4000, scale=20.0, width=192, n_layers=4, n_waves=3, score_width=128, score_waves=4, s_min=0.5,
            s_max=40.0, s_prior=400.0, n_particles=64, n_trajectories=0, output_noise=0.1,
        ),
        "mw32": DiKLSettings(
            n_steps=8000, scale=2.5, width=128, n_waves=4, score_width=128, score_waves=2, s_min=0.1, s_max=4.0,
            coarse_share=0.3, s_prior=25.0, posterior="kept", n_particles=1, n_coordinate_steps=48, n_trajectories=2,
            n_leapfrog=3, n_final_steps=10_000, path_width=256,
        ),
        "dw4": DiKLSettings(
            n_steps=3000, batch_size=256, scale=2.5, n_blocks=2, n_layers=2, length=2.0, s_min=0.1, s_max=4.0,
            s_prior=50.0, n_guesses=1, weighting="uniform", path_width=64,
        ),
        "lj13": DiKLSettings(
            n_steps=8000, batch_size=128, learning_rate=2e-3, score_learning_rate=2e-3, n_score_steps=4, scale=1.2,
            width=32, n_layers=2, n_blocks=2, score_width=32, s_min=0.02, s_max=1.0, s_prior=15.0, n_particles=64,
            n_refine_leapfrog=20, path_width=64, output_noise=0.005, encoder_width=32, n_guesses=1, weighting="uniform",
        ),
        MOLECULE: DiKLSettings(
            n_steps=2000, batch_size=256, width=256, score_width=256, s_min=0.1, s_max=10.0, s_prior=25.0,
            coarse_share=0.3, posterior="kept", n_particles=1, n_coordinate_steps=32, n_trajectories=2, n_leapfrog=3,
            path_width=256,
        ),
    },
}  # fmt: skip


def dikl_settings(target: Target, preset: str = "default", changes: Mapping[str, Any] | None = None) -> DiKLSettings:
    """The settings of a preset for `target`, with `changes`.

    Raises:
        ValueError: an unknown preset, or settings out of their range.
        TypeError: an unknown setting.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> dikl_settings(DoubleWell(), "paper").n_score_steps
        100
    """
    return from_preset(_PRESETS, preset, target, changes, "DiKL")
