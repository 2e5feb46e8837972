"""Memory of a process that evaluates a target over and over."""

import gc
from pathlib import Path

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import LennardJones, OpenMMTarget, gmm40, load_system
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget

from ..reference import particles

_STATUS = Path("/proc/self/statm")
_PAGE = 4096


def harmonic(state):
    x = state.getPositions(asNumpy=True)._value
    return 0.5 * (x**2).sum(), -x


def molecule(**options):
    return load_system("alanine-dipeptide-vacuum").target(**options)


def whitened():
    return WhitenedTarget(InternalTarget(molecule(), load_system("alanine-dipeptide-vacuum").positions))


def by_python():
    return OpenMMTarget(particles(5, openmm.PythonForce(harmonic)), 300 * unit.kelvin)


MADE = {
    "kernel": molecule,
    "torch": lambda: molecule(backend="torch"),
    "Reference": lambda: molecule(backend="openmm", platform="Reference"),
    "CPU": lambda: molecule(backend="openmm", platform="CPU"),
    "whitened": whitened,
    "particles": lambda: LennardJones(5),
    "mixture": gmm40,
}
if hasattr(openmm, "PythonForce"):
    MADE["python"] = by_python


def resident():
    return int(_STATUS.read_text().split()[1]) * _PAGE if _STATUS.exists() else 0


def counted():
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("n_calls", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", MADE)
def test_memory_does_not_grow_with_calls(kind, n_calls):
    """Neither the objects of Python nor the process."""
    target = MADE[kind]()
    x = 0.2 * target.normal(4, torch.Generator().manual_seed(0)) if kind != "whitened" else torch.zeros(4, 60).double()
    if target.positions is not None:
        x = target.positions + 0.01 * x
    x[3, 0] = torch.nan  # one that is refused

    def call(n):
        for _ in range(n):
            target.reduced_potential_and_score(x)
            target.hessian_product(x, x)
            at = x.clone().requires_grad_()
            target.reduced_potential(at)[:3].sum().backward()

    call(30)
    objects, process = counted(), resident()
    call(n_calls)
    assert counted() - objects < 100 + n_calls / 20
    assert resident() - process < 4_000_000 + 400 * n_calls
