"""OpenMM's custom forces against the Reference platform, on random positions of synthetic systems."""

import numpy as np
import openmm
import pytest

from openmm_diffsampler.targets.terms.translate import UnsupportedForceError, translate_system

from ..reference import assert_agrees, closed_form, particles, random_positions, reference

N = 12


def bond():
    force = openmm.CustomBondForce("k*(r-r0)^4+a*exp(-r)")
    force.addGlobalParameter("a", 0.3)
    force.addPerBondParameter("k")
    force.addPerBondParameter("r0")
    for i, j in ((0, 1), (1, 0), (0, 1), (9, 3)):
        force.addBond(i, j, (20.0 + i, 0.1 + 0.01 * j))
    return force


def bond_without_parameters():
    force = openmm.CustomBondForce("r^4+2")
    force.addBond(0, 1, [])
    force.addBond(2, 1, [])
    return force


def angle():
    force = openmm.CustomAngleForce("k*(cos(theta)-c)^2+a*theta")
    force.addGlobalParameter("a", 0.3)
    force.addPerAngleParameter("k")
    force.addPerAngleParameter("c")
    force.addAngle(0, 1, 2, (3.0, 0.2))
    force.addAngle(5, 3, 4, (1.0, -0.2))
    return force


def torsion():
    force = openmm.CustomTorsionForce("k*min(d, 2*3.14159265-d)^2+theta; d=abs(theta-t0)")
    force.addPerTorsionParameter("k")
    force.addPerTorsionParameter("t0")
    force.addTorsion(0, 1, 2, 3, (3.0, 0.2))
    force.addTorsion(3, 2, 1, 0, (2.0, 1.2))
    force.addTorsion(7, 5, 2, 4, (1.0, -0.2))
    return force


def external():
    force = openmm.CustomExternalForce("k*((x-x0)^2+a*y*z)+x*y^2")
    force.addGlobalParameter("a", 0.3)
    force.addPerParticleParameter("k")
    force.addPerParticleParameter("x0")
    for i in (2, 0, 2, 11):
        force.addParticle(i, (1.0 + i, 0.1 * i))
    return force


def nonbonded(expression="q1*q2*exp(-r)+e*(q1+q2)*r; e=0.5"):
    force = openmm.CustomNonbondedForce(expression)
    force.addPerParticleParameter("q")
    for i in range(N):
        force.addParticle((0.1 * i - 0.3,))
    force.addExclusion(0, 1)
    force.addExclusion(5, 2)
    return force


def nonbonded_by_groups():
    """Groups that overlap each other and themselves: a pair in two groups counts twice."""
    force = nonbonded()
    force.addInteractionGroup(range(6), range(3, 12))
    force.addInteractionGroup((0, 1, 4), (4, 5, 6))
    force.addInteractionGroup((7, 8, 9), (7, 8, 9))
    return force


def nonbonded_with_unequal_roles():
    """Particle 1 is the one from the first set, where exchanging them changes the energy."""
    force = nonbonded("q1*r^2")
    force.addInteractionGroup((9, 6, 7), (0, 1, 2))
    return force


def nonbonded_with_computed_values():
    force = nonbonded("c*d1*d2*exp(-r)+step(0.4-r)*(w1+w2)*r")
    force.addGlobalParameter("c", 1.5)
    force.addComputedValue("d", "q^2+c")
    force.addComputedValue("w", "select(step(q-0.2), q, 2)")
    return force


def nonbonded_without_pairs():
    force = nonbonded()
    force.addInteractionGroup((0,), (1,))
    return force


def generalised_born():
    force = openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    force.addComputedValue("I", "q2*exp(-3*r)*(1+0.1*q1)", force.ParticlePair)
    force.addComputedValue("B", "1/(1+I^2)", force.SingleParticle)
    force.addComputedValue("C", "B*I+q", force.SingleParticle)
    force.addEnergyTerm("q*C^2", force.SingleParticle)
    force.addEnergyTerm("q1*q2*B1*C2/(r+0.1)+q1*q2*B2*C1/(r+0.1)", force.ParticlePair)
    force.addEnergyTerm("r*B1*B2", force.ParticlePairNoExclusions)
    for i in range(N):
        force.addParticle((0.1 + 0.05 * i,))
    force.addExclusion(0, 1)
    force.addExclusion(7, 3)
    return force


def generalised_born_over_all_pairs():
    force = openmm.CustomGBForce()
    force.addGlobalParameter("a", 0.7)
    force.addComputedValue("I", "exp(-a*r)", force.ParticlePairNoExclusions)
    force.addEnergyTerm("r+3", force.ParticlePair)
    force.addEnergyTerm("2", force.SingleParticle)
    force.addEnergyTerm("I1*I2*r", force.ParticlePairNoExclusions)
    for _ in range(N):
        force.addParticle([])
    force.addExclusion(2, 1)
    return force


FORCES = (
    bond,
    bond_without_parameters,
    angle,
    torsion,
    external,
    nonbonded,
    nonbonded_by_groups,
    nonbonded_with_unequal_roles,
    nonbonded_with_computed_values,
    nonbonded_without_pairs,
    generalised_born,
    generalised_born_over_all_pairs,
)


@pytest.mark.parametrize("make", FORCES, ids=lambda make: make.__name__)
def test_energies_and_forces(make):
    assert_agrees(particles(N, make()), random_positions(N))


@pytest.mark.parametrize("make", FORCES, ids=lambda make: make.__name__)
def test_second_derivatives(make):
    system = particles(N, make())
    x, v = random_positions(N, batch=4), random_positions(N, batch=4, seed=4)
    by_differences = reference(system).force_vjp(x, v)
    difference = closed_form(system).force_vjp(x, v) - by_differences
    assert difference.norm() <= 1e-6 * by_differences.norm()


@pytest.mark.parametrize("make", [nonbonded, generalised_born], ids=lambda make: make.__name__)
def test_pairs_that_are_all_excluded(make):
    force = make()
    excluded = {tuple(sorted(force.getExclusionParticles(k))) for k in range(force.getNumExclusions())}
    for i, j in np.argwhere(np.triu(np.ones((N, N)), 1)):
        if (i, j) not in excluded:
            force.addExclusion(int(i), int(j))
    assert_agrees(particles(N, force), random_positions(N))


def test_forces_add_up():
    system = particles(N, bond(), external(), nonbonded_by_groups(), nonbonded("r^2"), generalised_born(), torsion())
    x = random_positions(N)
    parts = [particles(N, openmm.XmlSerializer.clone(force)) for force in system.getForces()]
    total = sum(closed_form(part).energy_and_forces(x)[1] for part in parts)
    assert (closed_form(system).energy_and_forces(x)[1] - total).norm() <= 1e-12 * total.norm()
    assert_agrees(system, x)


def single_particle(expression):
    force = openmm.CustomGBForce()
    force.addComputedValue("I", "exp(-r)", force.ParticlePair)
    force.addEnergyTerm(expression, force.SingleParticle)
    return force


def two_sums():
    force = openmm.CustomGBForce()
    force.addComputedValue("I", "exp(-r)", force.ParticlePair)
    force.addComputedValue("J", "exp(-2*r)", force.ParticlePair)
    return force


def cutoff(kind):
    force = kind("r") if kind is openmm.CustomNonbondedForce else kind()
    force.setNonbondedMethod(kind.CutoffNonPeriodic)
    return force


@pytest.mark.parametrize(
    ("force", "message"),
    [
        (two_sums(), "CustomGBForce: computed value 'J' sums over pairs"),
        (single_particle("x*I"), "CustomGBForce: unknown name 'x'"),
        (cutoff(openmm.CustomGBForce), "CustomGBForce uses a cutoff"),
        (cutoff(openmm.CustomNonbondedForce), "CustomNonbondedForce uses a cutoff"),
        (openmm.CustomExternalForce("periodicdistance(x, y, z, 0, 0, 0)"), "CustomExternalForce uses periodic"),
    ],
)
def test_what_has_no_closed_form_is_refused(force, message):
    with pytest.raises(UnsupportedForceError, match=message):
        translate_system(particles(0, force))
