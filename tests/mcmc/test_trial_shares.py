"""How trials are shared among blocks of torsions, against cases that can be worked out."""

import pytest
import torch

from openmm_diffsampler import InternalDiffusiveGibbs
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.mcmc.torsion_kernels import LearnedTorsionKernel
from openmm_diffsampler.mcmc.trial_shares import TrialShares

from .torsion_chain import TorsionChain

CHAIN = TorsionChain(biases=(0.6, -0.4, 0.2))


def settled(jumps, blocks, n_trials=None, **options):
    """Shares after many sweeps in which every block went as far as `jumps` says, of at most 1."""
    shares = TrialShares(blocks, n_trials, **options)
    for _ in range(200):
        for k, jump in enumerate(jumps):
            shares.update(k, jump)
        shares.settle(dict.fromkeys(shares.columns, 1.0))
    shares.freeze()
    return shares


def test_slow_torsions_get_more():
    """Of independent torsions p ∝ r^{−3/4} minimises Σ(p r)^{−3}."""
    rates = torch.tensor([1.0, 0.2, 0.04], dtype=torch.float64)
    shares = settled([[r] for r in rates.tolist()], [(0,), (1,), (2,)])
    expected = ((rates + 0.01) / 1.01) ** -0.75
    torch.testing.assert_close(shares.values, expected / expected.sum(), rtol=1e-3, atol=0)


def test_a_pair_that_moves_both_takes_over():
    shares = settled([[0.05], [0.05], [0.5, 0.5]], [(0,), (1,), (0, 1)])
    assert shares.values[2] > 0.95


def test_rotors_may_lag():
    """A torsion with ease e counts as e times faster: p₀/p₁ = e^{−3/4}."""
    shares = settled([[0.5], [0.5]], [(0,), (1,)], ease={0: 3.0})
    assert float(shares.values[0] / shares.values[1]) == pytest.approx(3**-0.75, rel=1e-3)


def test_turns_of_symmetric_groups_achieve_nothing():
    """Both wells of a torsion are one where half a turn is no change, alone and in a pair with one that is not."""
    target, first = InternalTarget(CHAIN.target, CHAIN.start), CHAIN.coordinates.torsions.start
    generator = torch.Generator().manual_seed(1)
    for order, least, most in ((1, 0.2, 1.5), (2, 0.0, 0.1)):
        kernel = LearnedTorsionKernel([(first,), (first + 1,), (first, first + 1)], 8, orders={first: order})
        for _ in range(10):
            state = evaluate(target, CHAIN.sample(100, generator) / target.widths)
            kernel(target, state, generator, adapt=True)
        single, _, (symmetric, other) = kernel.shares.jumps
        assert all(least <= jump < most for jump in (single[0], symmetric, kernel.densities[0].ideal_jump(order)))
        assert other > 0.2


def test_number_of_trials():
    """What is renewed at once takes few trials, what is slow as many as there may be; a number that is given stays."""
    fast, slow = settled([[1.0]], [(0,)]), settled([[0.01]], [(0,)])
    assert fast.n_trials <= 3 and slow.n_trials == 4 * 6
    assert settled([[0.01]], [(0,)], n_trials=5).n_trials == 5


def test_state_comes_back():
    shares = settled([[0.3], [0.1]], [(0,), (1,)])
    other = TrialShares([(0,), (1,)])
    other.load_state_dict(shares.state_dict())
    a, b = (torch.Generator().manual_seed(0) for _ in range(2))
    assert [shares.draw(a) for _ in range(50)] == [other.draw(b) for _ in range(50)]
    assert other.state_dict() == shares.state_dict()


def test_frozen_after_warm_up():
    sampler = InternalDiffusiveGibbs(CHAIN.target, CHAIN.start)
    states = sampler.states(CHAIN.start, n_chains=8, n_warmup=10)
    kernel = next(k for k in sampler.kernels if isinstance(k, LearnedTorsionKernel))
    next(states)
    before = kernel.state_dict()["adaptive"]
    for _ in range(5):
        next(states)
    assert kernel.state_dict()["adaptive"] == before and kernel.shares.n_updates != [0] * len(kernel.blocks)
