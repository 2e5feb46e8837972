"""A verdict that chains which agree cannot fool: stuck or drifting ones, shapes and conformers that were missed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from openmm_diffsampler.analysis import WeightedTrajectory, torsion_convergence
from openmm_diffsampler.analysis.landscape import Landscape, Part
from openmm_diffsampler.analysis.verdict import Ending, judge
from tests.mcmc.torsion_chain import TorsionChain

CHAIN = TorsionChain()
N_DRAWS, N_CHAINS = 400, 16


def positions(trans, shape):
    """Four atoms whose torsion is in one of two wells, and whose first bond has one of two lengths, with some noise."""
    rng = np.random.default_rng(1)
    z = torch.zeros(trans.size, len(CHAIN.coordinates), dtype=torch.float64)
    z[:, CHAIN.coordinates.bonds], z[:, CHAIN.coordinates.angles] = 0.15, math.radians(110)
    noise = rng.normal(0, 0.2, trans.size)
    z[:, CHAIN.coordinates.torsions] = torch.as_tensor(np.pi * trans.reshape(-1) + noise)[:, None]
    x = CHAIN.coordinates.to_cartesian(z)
    longer = torch.as_tensor(shape.reshape(-1))[:, None] * 0.1
    x[:, 0] = x[:, 1] + (x[:, 0] - x[:, 1]) * (1 + longer)
    return x.reshape(*trans.shape, 4, 3)


def part(free_energies=(0.0, 0.0), energies=(0.0, 1.0)):
    def label(x):
        return ((x[:, 0] - x[:, 1]).norm(dim=1) > 0.1575).long()

    return Part("ring system X", label, np.array(energies), np.array(free_energies))


def verdict(trans, shape=None, landscape=None, ending=None):
    shape = np.zeros_like(trans) if shape is None else shape
    wt = WeightedTrajectory.from_chains(positions(trans, shape), topology=CHAIN.target.topology)
    return judge(wt, landscape or Landscape(), torsion_convergence(wt), ending)


def coins(seed, share=0.5):
    return np.random.default_rng(seed).random((N_DRAWS, N_CHAINS)) < share


def conformers(heights):
    """One of each torsion and shape, at the given heights in kT."""
    trans, shape = (np.array(column) for column in zip(*heights, strict=True))
    return positions(trans, shape), np.array(list(heights.values()), dtype=float)


def test_good_chains_are_believed():
    """Ten runs without one false alarm."""
    for seed in range(10):
        found = verdict(coins(seed, 0.3), coins(seed + 100), Landscape([part()]))
        assert found.is_converged and not found.warnings
        assert found.sentence.startswith("Converged. At worst ")
        assert [row.name for row in found.watched].count("ring system X") == 1


def test_chains_that_stay_where_they_start():
    stuck = np.broadcast_to(np.arange(N_CHAINS) % 2 == 0, (N_DRAWS, N_CHAINS))
    found = verdict(stuck)
    assert not found.is_converged and found.sentence.startswith("Not converged. At worst ")
    assert "a longer run is not likely to reach" in found.sentence
    (warning,) = found.warnings
    assert "came into cis" in warning and "0 times and left it 0 times" in warning


def test_runs_that_are_too_short_to_say():
    few = coins(9)[:3]
    assert "R-hat unknown" in verdict(few).sentence and "too few draws to say" in verdict(few).sentence
    assert "times as long would reach" in verdict(coins(9)[:8]).sentence


def test_chains_that_agree_on_one_shape_of_two():
    """R-hat sees nothing of a shape that no chain is in."""
    trans, one = coins(3), np.zeros((N_DRAWS, N_CHAINS), dtype=bool)
    for free_energies, is_missed in (((0.0, 0.0), True), ((0.0, 12.0), False)):
        found = verdict(trans, one, Landscape([part(free_energies)]))
        assert found.is_converged != is_missed
        if is_missed:
            assert "ring system X at 1.0 kT was not visited" in found.warnings[0]
            assert found.sentence.startswith("The chains agree") and "1 thing speaks" in found.sentence
    assert [shape.population for shape in found.shapes] == [1.0, 0.0]


def test_conformers_that_were_missed():
    known = {(0, 0): 0.0, (1, 0): 0.3, (1, 1): 0.5, (0, 1): 5.9}
    x, u = conformers(known)
    landscape = Landscape([part((0.0, 9.0))], x, u)
    found = verdict(coins(4), None, landscape)
    assert not found.is_converged
    (warning,) = found.warnings
    assert warning.startswith("2 conformers") or "at 0.5" in warning
    assert [row.population > 0 for row in found.conformers] == [True, True, False, False]
    assert verdict(coins(4), coins(5), landscape).is_converged


def test_conformers_of_the_same_shape_by_symmetry_count_once():
    x, u = conformers({(0, 0): 0.0, (1, 0): 0.0})
    x[1] = x[0].flip(0) * torch.tensor([1.0, 1.0, -1.0])  # a mirror image with the atoms in the other order
    landscape = Landscape([], x, u)
    assert all(row.twin_visited for row in verdict(coins(4), None, landscape).conformers)


def test_drift():
    """All chains drift together."""
    share = np.linspace(0.1, 0.9, N_DRAWS)[:, None]
    trans = np.random.default_rng(5).random((N_DRAWS, N_CHAINS)) < share
    found = verdict(trans)
    assert any("in the first half of the run" in warning for warning in found.warnings)


def test_chains_remember_their_start():
    """Short visits to the other well, each ending where it began: many ways in and out, and halves that agree."""
    rng = np.random.default_rng(6)
    away = rng.random((N_DRAWS, N_CHAINS)) < 0.02
    away[0] = False
    found = verdict(away ^ (np.arange(N_CHAINS) % 2 == 0))
    assert not found.is_converged and any("chains that began there" in warning for warning in found.warnings)


def test_weights_far_from_harmonic_after_few_visits():
    shape = np.ones((N_DRAWS, N_CHAINS), dtype=bool)
    shape[:30] = False
    found = verdict(coins(7), shape, Landscape([part((0.0, 6.0))]))
    assert any("by harmonic free energies, after 16 ways in and 0 out" in warning for warning in found.warnings)


def test_what_more_time_would_buy():
    ending = Ending("the budget of 1e+06 energy evaluations was spent", effective_samples=20_000, evaluations=1_000_000)
    found = verdict(coins(8), ending=ending)
    assert not found.is_converged
    assert found.sentence.startswith("Not converged when the budget of 1e+06 energy evaluations was spent. At worst ")
    factor = float(found.sentence.split("about ")[1].split()[0])
    assert factor == pytest.approx(20_000 / (N_DRAWS * N_CHAINS), rel=0.2)
    assert f"({1e6 * factor:.1e} energy evaluations)" in found.sentence
