"""OpenMM's built-in forces against the Reference platform, on random positions of synthetic systems."""

import numpy as np
import openmm
import pytest
import torch

from ..reference import assert_agrees, closed_form, particles, random_positions, reference

N = 12


def harmonic_bond():
    force = openmm.HarmonicBondForce()
    for i, j in ((0, 1), (5, 2), (1, 0), (0, 1), (11, 3)):
        force.addBond(i, j, 0.1 + 0.01 * i, 300.0 + 10 * j)
    return force


def harmonic_angle():
    force = openmm.HarmonicAngleForce()
    for i, j, k in ((0, 1, 2), (2, 1, 0), (9, 4, 7), (3, 0, 11)):
        force.addAngle(i, j, k, 1.5 + 0.1 * i, 40.0 + k)
    return force


def periodic_torsion():
    force = openmm.PeriodicTorsionForce()
    for n in (1, 2, 3, 6):
        force.addTorsion(4, 1, 6, 3, n, 0.3 * n, 2.5)
        force.addTorsion(3, 6, 1, 4, n, -0.3 * n, -1.5)
    force.addTorsion(0, 1, 2, 3, 2, np.pi, 1.0)
    return force


def ryckaert_bellemans():
    force = openmm.RBTorsionForce()
    force.addTorsion(0, 1, 2, 3, 1.0, 2.0, -3.0, 0.5, 0.25, 2.0)
    force.addTorsion(3, 2, 1, 0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.5)
    return force


def cmap():
    force, rng = openmm.CMAPTorsionForce(), np.random.default_rng(2)
    force.addMap(6, rng.normal(size=36))
    force.addMap(9, rng.normal(size=81))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    force.addTorsion(1, 4, 5, 6, 7, 8, 9, 10, 11)
    force.addTorsion(1, 3, 2, 1, 0, 1, 2, 3, 4)
    force.addTorsion(0, 3, 2, 1, 0, 0, 1, 2, 3)
    return force


def nonbonded(charges=True):
    force = openmm.NonbondedForce()
    for i in range(N):
        force.addParticle(0.3 * (-1) ** i * charges, 0.2 + 0.01 * i, 0.5 * (i % 3))
    force.addException(0, 1, 0.0, 0.2, 0.0)
    force.addException(2, 1, 0.05, 0.25, 0.3)
    force.addException(7, 4, 0.0, 0.25, 0.3)
    return force


def nonbonded_with_offsets():
    force = nonbonded()
    force.addGlobalParameter("scale", 0.7)
    force.addGlobalParameter("other", -0.2)
    force.addParticleParameterOffset("scale", 3, 0.2, 0.01, 0.1)
    force.addParticleParameterOffset("other", 3, 0.5, 0.02, 0.0)
    force.addParticleParameterOffset("other", 0, 0.5, 0.02, -0.1)
    force.addExceptionParameterOffset("scale", 1, 0.1, 0.0, 0.2)
    force.addExceptionParameterOffset("scale", 0, 0.1, 0.05, 0.2)
    return force


def gbsa(surface_area_energy=2.25936):
    force = openmm.GBSAOBCForce()
    force.setSoluteDielectric(2.0)
    force.setSolventDielectric(60.0)
    force.setSurfaceAreaEnergy(surface_area_energy)
    for i in range(N):
        force.addParticle((-1) ** i * 0.3, 0.1 + 0.01 * i, 0.7 + 0.02 * i)
    return force


FORCES = {
    "bonds": harmonic_bond,
    "angles": harmonic_angle,
    "periodic torsions": periodic_torsion,
    "Ryckaert-Bellemans torsions": ryckaert_bellemans,
    "CMAP": cmap,
    "nonbonded": nonbonded,
    "nonbonded without charges": lambda: nonbonded(False),
    "nonbonded with offsets": nonbonded_with_offsets,
    "GBSA": gbsa,
    "GBSA without surface area": lambda: gbsa(0.0),
}


@pytest.mark.parametrize("name", FORCES)
def test_energies_and_forces(name):
    assert_agrees(particles(N, FORCES[name]()), random_positions(N))


@pytest.mark.parametrize("name", FORCES)
def test_second_derivatives(name):
    system = particles(N, FORCES[name]())
    # Nearer atoms leave nothing of the digits of a difference.
    x, v = random_positions(N, batch=4, scale=0.4), random_positions(N, batch=4, seed=4)
    by_differences = reference(system).force_vjp(x, v)
    assert (closed_form(system).force_vjp(x, v) - by_differences).norm() <= 1e-6 * by_differences.norm()


def test_born_radii_of_atoms_inside_each_other():
    """Every order of the distance, the radius and the scaled radius of the neighbour."""
    force = openmm.GBSAOBCForce()
    force.addParticle(0.5, 0.3, 0.9)
    force.addParticle(-0.3, 0.1, 0.8)
    x = torch.zeros(40, 2, 3, dtype=torch.float64)
    x[:, 1, 0] = torch.linspace(0.01, 0.7, 40)
    assert_agrees(particles(2, force), x)


def test_an_ion_alone_in_generalised_born_solvent():
    force = openmm.GBSAOBCForce()
    force.addParticle(1.0, 0.2, 0.8)
    system = particles(1, force)
    energy, forces = closed_form(system).energy_and_forces(torch.ones(2, 1, 3, dtype=torch.float64))
    assert torch.allclose(energy, reference(system).energy_and_forces(torch.ones(2, 1, 3))[0], rtol=1e-12)
    assert energy[0] < -100 and not forces.any()


def torsions_at(angles):
    """Positions (n, 4, 3) whose torsion is each of `angles`."""
    x = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.15], [0.0, 0.0, 0.2]], dtype=torch.float64)
    x = x.repeat(len(angles), 1, 1)
    x[:, 3, 0], x[:, 3, 1] = 0.1 * angles.cos(), 0.1 * angles.sin()
    return x


def test_maps_close_to_the_edges_of_their_patches():
    force = openmm.CMAPTorsionForce()
    force.addMap(4, np.random.default_rng(0).normal(size=16))
    force.addTorsion(0, 0, 1, 2, 3, 0, 1, 2, 3)
    edges = torch.tensor([-np.pi, -np.pi / 2, 0.0, np.pi / 2, np.pi], dtype=torch.float64)
    near = torch.cat([edges + shift for shift in (-1e-3, -1e-9, 1e-9, 1e-3)])
    system = particles(4, force)
    assert_agrees(system, torsions_at(near), tolerance=1e-7)  # 1e-9 rad is where OpenMM's arc cosine loses digits
    assert_agrees(system, torsions_at(edges[:-1] + 0.3))


@pytest.mark.parametrize("bend", [0.0, 1e-7, 1e-4, 1e-2])
def test_straight_angles(bend):
    """Reference takes them from an arc cosine, which is exact to about 1e-16/bend."""
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 1, 2, 1.0, 100.0)
    x = torch.tensor([[[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.2, 0.1 * bend, 0.0]]], dtype=torch.float64)
    assert_agrees(particles(3, force), x, tolerance=max(1e-10, 1e-15 / max(bend, 1e-8)))
