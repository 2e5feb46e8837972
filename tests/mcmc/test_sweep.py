"""The settings that all three implementations share."""

import pytest

from openmm_diffsampler.mcmc.sweep import Sweep, level_name


def test_levels_go_from_large_to_small():
    sweep = Sweep([0.01, (0.0, 0.0, 0.3), 0.1], n_leapfrog=4, n_denoising_steps=2)
    assert sweep.noise_scales == ((0.0, 0.0, 0.3), 0.1, 0.01)
    assert sweep.evaluations == 3 * (1 + 2 * 4)
    assert [level_name(s) for s in sweep.noise_scales] == ["noise 0–0.3 by particle", "noise 0.1", "noise 0.01"]


def test_mala_has_one_leapfrog_step():
    assert Sweep([1.0], n_leapfrog=7, denoiser="mala").n_leapfrog == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_scales": [-1.0]}, "noise scale is -1.0; it must be positive"),
        ({"noise_scales": [0.0]}, "must be positive"),
        ({"noise_scales": [float("nan")]}, "must be positive"),
        ({"noise_scales": [[0.0, 0.0]]}, "must be positive"),
        ({"noise_scales": [[0.1, -0.1]]}, "must be positive"),
        ({"noise_scales": [1.0], "denoiser": "ula"}, "supported are 'hmc', 'mala'"),
        ({"noise_scales": [1.0], "n_leapfrog": 0}, "n_leapfrog is 0"),
        ({"noise_scales": [1.0], "n_denoising_steps": 1.5}, "n_denoising_steps is 1.5"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        Sweep(**options)
