"""Which sampler a target gets when nobody has chosen one."""

import mdtraj as md
import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import DiffusiveGibbs, InternalDiffusiveGibbs, OpenMMTarget, gmm40, load_system
from openmm_diffsampler.coordinates import NoInternalCoordinatesError, has_flexible_ring
from openmm_diffsampler.mcmc import recommended_sampler

from ..coordinates.molecules import topology
from .torsion_chain import TorsionChain

CHAIN = TorsionChain()


def straight_chain():
    """A chain of atoms that lie in a line at its end, as a nitrile does."""
    system, bond = openmm.System(), openmm.HarmonicBondForce()
    x = np.array([[0, 0.1, 0], [0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0], [0.25, 0.28, 0], [0.3, 0.42, 0]])
    built = md.Topology()
    residue = built.add_residue("MOL", built.add_chain())
    atoms = [built.add_atom(f"C{k}", md.element.carbon, residue) for k in range(len(x))]
    for k in range(len(x)):
        system.addParticle(12)
        if k:
            bond.addBond(k - 1, k, float(np.linalg.norm(x[k] - x[k - 1])), 2e4)
            built.add_bond(atoms[k - 1], atoms[k])
    system.addForce(bond)
    return OpenMMTarget(system, 300 * unit.kelvin, built, positions=x), x


def test_molecules_are_sampled_in_internal_coordinates():
    sampler, why = recommended_sampler(CHAIN.target, CHAIN.start, n_leapfrog=2)
    assert isinstance(sampler, InternalDiffusiveGibbs) and why == "1 rotatable torsions"
    assert sampler.n_rungs == 1 and sampler.kernels[-1].n_leapfrog == 2


def test_what_has_no_internal_coordinates_is_sampled_in_cartesian_ones():
    target, x = straight_chain()
    sampler, why = recommended_sampler(target, x)
    assert isinstance(sampler, DiffusiveGibbs) and "lie in a line" in why and sampler.statistics == []
    assert sampler.kernels[0].name == "torsion noise 1.5 rad"
    with pytest.raises(NoInternalCoordinatesError, match="lie in a line"):
        recommended_sampler(target, x, coordinates="internal")
    cluster = load_system("lj13")
    assert isinstance(recommended_sampler(cluster.target(), cluster.positions)[0], DiffusiveGibbs)
    assert isinstance(recommended_sampler(gmm40(), torch.zeros(2), 4)[0], DiffusiveGibbs)
    with pytest.raises(TypeError, match="no topology"):
        recommended_sampler(gmm40(), torch.zeros(2), 4, coordinates="internal")


def test_cartesian_coordinates_on_request():
    sampler, why = recommended_sampler(CHAIN.target, CHAIN.start, coordinates="cartesian", torsion_scale=0.5)
    assert isinstance(sampler, DiffusiveGibbs) and why == "as asked for" and sampler.kernels[0].scale == 0.5
    with pytest.raises(ValueError, match="coordinates are 'polar'"):
        recommended_sampler(CHAIN.target, CHAIN.start, coordinates="polar")


def test_mistakes_are_not_taken_for_a_lack_of_coordinates():
    with pytest.raises(ValueError, match="noise scale is -1"):
        recommended_sampler(CHAIN.target, CHAIN.start, noise_scales=[-1.0])


def test_rings_that_pucker():
    ring = [(k, (k + 1) % 6) for k in range(6)]
    hydrogens = [(k, 6 + 2 * k + n) for k in range(6) for n in (0, 1)]
    assert has_flexible_ring(topology(("C" * 6 + "H" * 12, ring + hydrogens)))
    assert not has_flexible_ring(topology(("C" * 6 + "H" * 6, ring + [(k, 6 + k) for k in range(6)])))
    assert not has_flexible_ring(load_system("aspartame").mdtraj_topology)
