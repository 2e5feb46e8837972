"""The network for fields on a lattice: shifts, what it starts from, where it is chosen."""

import pytest
import torch

from openmm_diffsampler import EDG
from openmm_diffsampler.networks import LatticeNetwork, network_for
from openmm_diffsampler.targets import RelaxedIsing


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_fields_move_with_their_input(n_outputs):
    torch.manual_seed(0)
    network = LatticeNetwork((4, 6), width=8, n_layers=2, n_waves=2, n_outputs=n_outputs, n_given=1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, given, t = torch.randn(3, 24), torch.randn(3, 24), torch.rand(3)

    def shifted(field):
        return field.unflatten(-1, (4, 6)).roll((1, 2), (-2, -1)).flatten(-2)

    there = network(x, t, given)
    assert there.shape == ((3, 24) if n_outputs == 1 else (n_outputs, 3, 24))
    torch.testing.assert_close(network(shifted(x), t, shifted(given)), shifted(there), rtol=1e-4, atol=1e-4)
    for other in ((x, t, given.flip(0)), (x, t.flip(0), given), (x + 0.1, t, given)):
        assert float((network(*other) - there).detach().abs().max()) > 1e-3  # it sees all of them


def test_a_new_network_gives_zero():
    assert not LatticeNetwork((4, 4), width=8, n_layers=1)(torch.randn(2, 16), torch.rand(2)).any()


def test_fields_of_spins_get_it():
    target = RelaxedIsing(4, 8.0, whitened=True)
    assert isinstance(network_for(target, width=4, n_layers=1), LatticeNetwork)
    small = {"batch_size": 32, "width": 8, "score_width": 8, "score_layers": 1, "n_layers": 1, "n_leapfrog": 1}
    sampler = EDG(target, **small, learning_rate=3e-3, n_final_steps=100, beta_start=0.5, n_waves=0).fit(150)
    wt = sampler.sample(1500, seed=1, n_levels=30, n_draws=2)
    assert abs(wt.log_Z - target.log_Z) < 4 * wt.log_Z_standard_error < 0.7
