"""Targets are pickled and copied whatever they are and whatever evaluates them."""

import copy
import pickle

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.targets.analytic import (
    DoubleWell,
    GaussianMixture,
    LennardJones,
    LogisticRegression,
    ManyWell,
    RelaxedIsing,
    RuggedWell,
    gmm40,
    rings,
)

from .reference import particles

MOLECULE = load_system("alanine-dipeptide-vacuum")


def internal(backend="kernel"):
    return InternalTarget(MOLECULE.target(backend=backend), MOLECULE.positions)


MADE = {
    "kernel": MOLECULE.target,
    "kernel in single precision": lambda: MOLECULE.target(dtype=torch.float32),
    "torch": lambda: MOLECULE.target(backend="torch"),
    "Reference": lambda: MOLECULE.target(backend="openmm", platform="Reference"),
    "CPU": lambda: MOLECULE.target(backend="openmm", platform="CPU"),
    "internal coordinates": internal,
    "internal coordinates by OpenMM": lambda: internal("openmm"),
    "whitened coordinates": lambda: WhitenedTarget(internal()),
    "mixture": lambda: GaussianMixture([[1e4], [0.0]], 1e-3),
    "gmm40": gmm40,
    "many wells": ManyWell,
    "double well": DoubleWell,
    "Lennard-Jones": lambda: LennardJones(4),
    "Ising": lambda: RelaxedIsing(3, 2.0),
    "rugged": lambda: RuggedWell(2),
    "rings": rings,
    "regression": lambda: LogisticRegression([[0.0], [1.0], [2.0]], [0, 1, 1]),
}
WAYS = {"pickled": lambda target: pickle.loads(pickle.dumps(target)), "deep copy": copy.deepcopy, "copy": copy.copy}


def configurations(target):
    x = target.normal(3, torch.Generator().manual_seed(0))
    if isinstance(target, OpenMMTarget):
        return target.positions.to(target.dtype) + 0.003 * x
    return target.from_cartesian(target.positions[None]) + 0.01 * x if isinstance(target, InternalTarget) else x


@pytest.mark.parametrize("way", ["pickled", "deep copy"])
@pytest.mark.parametrize("kind", MADE)
def test_a_copy_has_the_same_energies_and_counts_for_itself(kind, way):
    target = MADE[kind]()
    x = configurations(target)
    u, score = target.reduced_potential_and_score(x)
    other = WAYS[way](target)
    before = target.n_evaluations
    again = other.reduced_potential_and_score(x)
    assert torch.equal(u, again[0]) and torch.equal(score, again[1])
    assert (target.n_evaluations, other.n_evaluations) == (before, before + len(x))
    assert torch.equal(other.hessian_product(x, x), target.hessian_product(x, x))
    assert (target.n_evaluations, other.n_evaluations) == (before + 2 * len(x), before + 3 * len(x))
    assert other.identity() == target.identity()


def harmonic(state):
    x = state.getPositions(asNumpy=True)._value
    return 0.5 * (x**2).sum(), -x


needs_python_force = pytest.mark.skipif(not hasattr(openmm, "PythonForce"), reason="this OpenMM has no PythonForce")


@needs_python_force
@pytest.mark.parametrize("way", WAYS)
def test_a_function_of_a_module_travels(way):
    target = OpenMMTarget(particles(2, openmm.PythonForce(harmonic)), 300 * unit.kelvin)
    x = torch.ones(1, 2, 3)
    assert torch.equal(WAYS[way](target).reduced_potential(x), target.reduced_potential(x))


@needs_python_force
def test_a_function_that_cannot_be_pickled_can_be_copied_and_is_refused_with_words():
    target = OpenMMTarget(particles(2, openmm.PythonForce(lambda state: harmonic(state))), 300 * unit.kelvin)
    x = torch.ones(1, 2, 3)
    for way in (copy.copy, copy.deepcopy):
        assert torch.equal(way(target).reduced_potential(x), target.reduced_potential(x))
    with pytest.raises(pickle.PicklingError, match=r"could not be pickled.*top level of a module"):
        pickle.dumps(target)


def test_the_state_of_a_copy_is_its_own():
    target = MOLECULE.target(backend="openmm", platform="Reference", n_contexts=1)
    other = copy.deepcopy(target)
    ours, theirs = target._evaluator.contexts, other._evaluator.contexts
    assert ours[0] is not theirs[0] and target._evaluator._lock is not other._evaluator._lock
