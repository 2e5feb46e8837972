"""Tabulated functions against OpenMM, inside and outside their range."""

import numpy as np
import openmm
import pytest
import torch

from openmm_diffsampler.targets.terms.translate import UnsupportedForceError, translate_system

from ..reference import assert_agrees, closed_form, particles, random_positions, reference

VALUES = np.random.default_rng(0).normal(size=24)
CLOSED = [*VALUES[:8], VALUES[0]]

CONTINUOUS = {
    "natural": openmm.Continuous1DFunction(list(VALUES[:9]), 0.2, 0.7),
    "periodic": openmm.Continuous1DFunction(CLOSED, 0.2, 0.7, True),
    "two values": openmm.Continuous1DFunction([1.0, -2.0], 0.2, 0.7),
}
DISCRETE = {
    1: openmm.Discrete1DFunction(list(VALUES[:5])),
    2: openmm.Discrete2DFunction(3, 2, list(VALUES[:6])),
    3: openmm.Discrete3DFunction(2, 3, 4, list(VALUES)),
}


def bond(expression, function):
    force = openmm.CustomNonbondedForce(expression)
    force.addTabulatedFunction("f", openmm.XmlSerializer.clone(function))
    force.addPerParticleParameter("t")
    for k in range(6):
        force.addParticle([k % 2])
    return particles(6, force)


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_splines_inside_and_outside_their_range(kind):
    system = bond("f(r)", CONTINUOUS[kind])
    x = torch.zeros(60, 6, 3, dtype=torch.float64)
    x[:, :, 0] = torch.arange(6) * torch.linspace(0.02, 0.9, 60, dtype=torch.float64).unsqueeze(1)
    distances = x[:, 1, 0]
    assert (distances < 0.2).any() and (distances > 0.7).any()
    assert_agrees(system, x)


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_second_derivatives_of_splines(kind):
    system = bond("r*f(r)^2", CONTINUOUS[kind])
    x = random_positions(6)
    v = random_positions(6, seed=4)
    by_differences = reference(system).force_vjp(x, v)
    assert (closed_form(system).force_vjp(x, v) - by_differences).norm() <= 1e-6 * by_differences.norm()


def test_splines_in_single_precision():
    assert_agrees(bond("f(r)", CONTINUOUS["natural"]), random_positions(6), tolerance=1e-4, dtype=torch.float32)


def test_the_spline_of_a_constant():
    system = bond("f(0.31)*f(c)*r; c=0.5", CONTINUOUS["natural"])
    assert_agrees(system, random_positions(6))


@pytest.mark.parametrize(
    ("n", "expression"),
    [
        (1, "f(t1+2*t2)*r"),
        (1, "f(4)*r"),
        (2, "f(t1+t2, t2)*r"),
        (2, "f(t1*r/r, 1)*r"),
        (3, "f(t1, t2, t1+t2)*r"),
        (3, "f(t2, 2*t1, 3)*r^2+f(0, t1, t2)"),
    ],
)
def test_discrete_tables(n, expression):
    assert_agrees(bond(expression, DISCRETE[n]), random_positions(6))


def test_discrete_tables_round_to_the_nearest_entry():
    """Indices that change with the distance, off the half-way points."""
    assert_agrees(bond("f(min(4, 3*r))*r", DISCRETE[1]), random_positions(6))


def test_indices_outside_a_discrete_table_take_its_ends():
    system = bond("f(5*r-3)*r", DISCRETE[1])
    x = random_positions(6, scale=0.5)
    indices = 5 * (x[:, 0] - x[:, 1]).norm(dim=1) - 3
    assert (indices < -0.5).any() and (indices > 4.5).any()
    assert_agrees(system, x)


@pytest.mark.parametrize("index", [0.5, 1.5, 2.5])
def test_indices_half_way_between_entries(index):
    assert_agrees(bond(f"f({index}+0*r)*r", DISCRETE[1]), random_positions(6))


def test_two_tables_in_two_forces():
    first, second = bond("f(r)", CONTINUOUS["natural"]), bond("f(t1+t2)*r", DISCRETE[1])
    first.addForce(openmm.XmlSerializer.clone(second.getForce(0)))
    assert_agrees(first, random_positions(6))


def test_tables_in_a_generalised_born_force():
    force = openmm.CustomGBForce()
    force.addTabulatedFunction("m", openmm.XmlSerializer.clone(DISCRETE[2]))
    force.addTabulatedFunction("s", openmm.XmlSerializer.clone(CONTINUOUS["natural"]))
    force.addPerParticleParameter("t")
    force.addComputedValue("I", "m(t1+t2, t2)*exp(-r)+s(r)", force.ParticlePair)
    force.addEnergyTerm("s(0.4+0.1*tanh(I))+m(t, 1)*I", force.SingleParticle)
    for k in range(6):
        force.addParticle([k % 2])
    assert_agrees(particles(6, force), random_positions(6))


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (openmm.Continuous2DFunction(4, 4, [0.0] * 16, 0, 1, 0, 1), "f(r, 1)"),
        (openmm.Continuous3DFunction(2, 2, 2, [0.0] * 8, 0, 1, 0, 1, 0, 1), "f(r, 1, 1)"),
    ],
)
def test_continuous_functions_of_several_variables_are_refused_by_name(function, call):
    with pytest.raises(UnsupportedForceError, match=f"CustomNonbondedForce.*'f' is a {type(function).__name__}"):
        translate_system(bond(call, function))
