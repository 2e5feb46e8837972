"""Whitened internal coordinates: the same density, one turn of each torsion, nothing of a size of its own."""

import math

import pytest
import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget

MOLECULE = load_system("alanine-dipeptide")
CARTESIAN = MOLECULE.target()


@pytest.fixture
def target():
    """Whitened by configurations near the start."""
    internal = InternalTarget(CARTESIAN, MOLECULE.positions)
    target = WhitenedTarget(internal)
    y = internal.from_cartesian(internal.positions[None])
    noise = torch.randn(500, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[:, 1] += noise[:, 0]
    target.whiten(y + 0.3 * noise)
    return target


def near(target, n, seed=1):
    x = target.from_internal(target.internal.from_cartesian(target.internal.positions[None]))
    return x + 0.2 * torch.randn(n, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_energy_score_and_derivatives(target):
    x = near(target, 4)
    u, score = target.reduced_potential_and_score(x)
    torch.testing.assert_close(u, target.internal.reduced_potential(target.to_internal(x)) - target._log_volume)
    step = 1e-5 * torch.eye(60, dtype=torch.float64)
    ahead, behind = (torch.stack([target.reduced_potential(x + s * e) for e in step], 1) for s in (1, -1))
    torch.testing.assert_close(-score, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-5)
    v = torch.randn(4, 60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (product,) = torch.autograd.grad((target.score(leaf) * v).sum(), leaf)
    ahead, behind = (target.score(x + s * 1e-4 * v) for s in (1, -1))
    torch.testing.assert_close(product, (ahead - behind) / 2e-4, rtol=1e-3, atol=1e-3)


def test_frames_are_those_of_the_cartesian_target(target):
    x = near(target, 4)
    frames, u = target.frames(x, target.reduced_potential(x))
    assert target.frames_of is CARTESIAN and frames.shape == (4, 22, 3)
    torch.testing.assert_close(u, CARTESIAN.reduced_potential(frames))
    assert CARTESIAN.frames(frames, u)[0] is frames and CARTESIAN.frames_of is CARTESIAN


def test_coordinates_are_white(target):
    internal = target.internal
    y = internal.from_cartesian(internal.positions[None])
    noise = torch.randn(500, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise[:, 1] += noise[:, 0]
    y = y + 0.3 * noise
    x = target.from_internal(y)
    torch.testing.assert_close(target.to_internal(x), y)
    stiff = target.periods.isinf()
    covariance = x[:, stiff].T.cov(correction=0)
    assert x[:, stiff].mean(0).abs().max() < 1e-9
    assert abs(covariance.diagonal().mean() - 1) < 0.1 and abs(float(covariance[0, 1])) < 0.2


def test_one_turn_of_each_torsion(target):
    """u repeats in torsions that turn, and is infinite beyond a turn of the others."""
    x, internal = near(target, 2), target.internal
    u = target.reduced_potential(x)
    turns = target.periods.isfinite()
    assert turns.nonzero().flatten().tolist() == internal.turning and turns.sum() == 7
    assert torch.equal(internal.periods.isfinite(), turns)
    torch.testing.assert_close((internal.periods * internal.widths)[turns], torch.full((7,), 2 * math.pi).double())
    torch.testing.assert_close(target.reduced_potential(torch.where(turns, x + 2 * target.periods, x)), u)
    stiff = next(k for k in range(internal.coordinates.torsions.start, 60) if not turns[k])
    y = target.to_internal(x)
    y[:, stiff] += 2 * math.pi / internal.widths[stiff]
    assert internal.reduced_potential(y).isfinite().all()
    beyond = (y - target.origin) @ target._inverse.T
    assert target.reduced_potential(beyond).isinf().all()
    torch.testing.assert_close(target.from_internal(y), x)  # the same configuration within the turn that counts


def test_units_travel(target):
    other = WhitenedTarget(InternalTarget(CARTESIAN, MOLECULE.positions, widths=2 * target.internal.widths))
    x = near(target, 2)
    other.load_state_dict(target.state_dict())
    torch.testing.assert_close(other.reduced_potential(x), target.reduced_potential(x))
    assert other.identity() == target.identity() == target.internal.identity()
    before = CARTESIAN.n_evaluations
    target.reduced_potential(x)
    assert target.n_evaluations == CARTESIAN.n_evaluations == before + 2
