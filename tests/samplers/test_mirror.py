"""Densities that are their own mirror image, of which a sampler keeps one half."""

import math

import pytest
import torch

from openmm_diffsampler import EDG, GaussianMixture
from openmm_diffsampler.samplers.mirror import kept_half, mirrored

from .small_edg import COLD

TWO = GaussianMixture([[-3.0, 1.0], [3.0, -1.0]], scales=0.7)
TWO.mirror = torch.tensor([1.0, 0.0], dtype=torch.float64)
SMALL = {"batch_size": 64, "width": 16, "n_layers": 2, "score_width": 32, "score_layers": 2, "n_leapfrog": 1}


@pytest.mark.parametrize("centre", [[-3.0, 1.0], [3.0, -1.0]])
def test_weights_of_one_half_give_both(centre):
    """Importance samples of a wide Gaussian around one mode, which reaches beyond the middle."""
    around, n = GaussianMixture([centre], scales=1.5), 40_000
    x = around.sample(n, torch.Generator().manual_seed(0))
    log_weights = around.reduced_potential(x) - TWO.reduced_potential(x) + around.log_Z
    half = kept_half(TWO, x)
    assert half == math.copysign(1, centre[0])
    y, log_factors = mirrored(TWO, x, half, torch.Generator().manual_seed(1))
    w = (log_weights + log_factors).exp()
    for f, exact in ((torch.ones_like, math.exp(TWO.log_Z)), (lambda y: (y > 0).double(), 0.5 * math.exp(TWO.log_Z))):
        values = w * f(y[:, 0])
        assert abs(float(values.mean()) - exact) < 4 * float(values.std()) / n**0.5
    assert 0 < float((log_factors == -torch.inf).double().mean()) < 0.1  # some lie beyond the middle


def test_neither_half_is_kept_where_both_are_there():
    x = TWO.sample(1000, torch.Generator().manual_seed(0))
    assert kept_half(TWO, x) == 0
    assert kept_half(GaussianMixture([[0.0, 0.0]], scales=1.0), x.abs()) == 0  # says nothing of a mirror


@pytest.mark.parametrize("cooled", [COLD | {"beta_start": 1.0}, {"beta_start": 0.6, "beta_end": 0.6, "n_cooling": 10}])
def test_a_decoder_that_keeps_one_half(cooled, tmp_path):
    torch.manual_seed(0)
    sampler = EDG(TWO, **SMALL, **cooled, scale=0.5, learning_rate=5e-3, n_final_steps=300)
    torch.nn.init.constant_(sampler.model.decoder.start.blocks[0].last.bias, 4.0)  # the decoder starts in one of them
    sampler.fit(200)
    assert sampler.half != 0
    for weights in ("path", None):
        x = sampler.sample(500, weights, seed=1).x
        assert abs(float((x[:, 0] > 0).double().mean()) - 0.5) < 4 * 0.5 / 500**0.5
    wt = sampler.sample(1000, seed=2)
    assert abs(wt.log_Z - TWO.log_Z) < 4 * wt.log_Z_standard_error < 0.4
    sampler.save(tmp_path)
    again = EDG.load(tmp_path, TWO).sample(50, seed=3)
    assert torch.equal(again.log_weights, sampler.sample(50, seed=3).log_weights)
