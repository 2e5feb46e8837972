"""The least and the most that each setting of a sampler may be, whatever the method."""

from __future__ import annotations

__all__ = ["BOUNDS", "LARGEST_NETWORK"]

_COUNT = (1, 10**9)
_COUNT_OR_NONE = (0, 10**9)
_LENGTH = (1e-12, 1e12)
_RATE = (1e-12, 1e9)
_SHARE = (0.0, 1.0)
#: Of hidden layers; far above what was ever of use.
_WIDTH, _LAYERS, _WAVES = (1, 16_384), (1, 256), (0, 64)

#: Parameters of all networks of a method together, by width² times layers, from which on settings are refused.
LARGEST_NETWORK = 2**28

#: Name of a setting → least, most. Positive numbers begin above zero, so that no square of them vanishes.
BOUNDS: dict[str, tuple[float, float]] = {
    # Training.
    "n_steps": _COUNT,
    "batch_size": (1, 10**7),
    "learning_rate": _RATE,
    "score_learning_rate": _RATE,
    "path_learning_rate": _RATE,
    "gradient_clip": _LENGTH,
    "ema_decay": _SHARE,
    "patience": _COUNT_OR_NONE,
    "score_clip": _LENGTH,
    # Networks.
    "width": _WIDTH,
    "score_width": _WIDTH,
    "path_width": _WIDTH,
    "encoder_width": _WIDTH,
    "n_layers": _LAYERS,
    "score_layers": _LAYERS,
    "path_layers": _LAYERS,
    "encoder_layers": _LAYERS,
    "n_blocks": _LAYERS,
    "n_guesses": _LAYERS,
    "n_components": (1, 4096),
    "n_circular_components": (1, 4096),
    "n_waves": _WAVES,
    "score_waves": _WAVES,
    "n_real_waves": _WAVES,
    "length": _LENGTH,
    "scale": _LENGTH,
    "unit": _LENGTH,
    # Exploration, buffers, samples that are fitted to.
    "n_exploration": (1, 10**13),
    "n_chains": (1, 10**7),
    "n_warmup": (0, 10**7),
    "thinning": (1, 10**6),
    "n_held_out": _COUNT,
    "buffer_size": _COUNT,
    "n_pool": _COUNT,
    "n_own": _COUNT,
    "n_refresh": _COUNT,
    "refresh_every": _COUNT,
    "lifetime": _COUNT,
    "own_share": _SHARE,
    "noised_share": _SHARE,
    "likelihood_until": _SHARE,
    "variance_from": _SHARE,
    "outlier": _LENGTH,
    "n_final_steps": _COUNT,
    "n_score_steps": (1, 10**6),
    # Levels of noise and of temperature.
    "s_min": _LENGTH,
    "s_max": _LENGTH,
    "s_prior": _LENGTH,
    "n_levels": (2, 10**6),
    "n_refresh_levels": (2, 10**6),
    "n_path_levels": (2, 10**6),
    "n_noiseless": (0, 10**6),
    "noise_scale": _LENGTH,
    "output_noise": _LENGTH,
    "coarse_share": _SHARE,
    "anneal_share": _SHARE,
    "beta_min": (1e-12, 1 - 1e-6),
    "beta_max": (1e-12, 1 - 1e-6),
    "beta_start": (1e-12, 1.0),
    "beta_end": (1e-12, 1.0),
    "n_cooling": (0, 10**7),
    "n_times": (1, 10**4),
    # Steps inside, and draws.
    "n_particles": (1, 10**6),
    "n_anneal": (1, 10**4),
    "n_coordinate_steps": (0, 10**6),
    "n_trajectories": (0, 10**6),
    "n_leapfrog": (1, 1000),
    "n_cooling_leapfrog": (1, 10**4),
    "n_refine": (0, 10**6),
    "n_refine_leapfrog": (1, 10**4),
    "step_size": _LENGTH,
    "n_descent": (0, 1000),
    "descent_step": _LENGTH,
    "epsilon": _LENGTH,
    "force_clip": _LENGTH,
    "n_draws": (0, 10**6),
    "n_ode_draws": (0, 10**6),
    "n_ode_steps": (1, 10**6),
    "n_newton": (0, 1000),
}
