"""Bonds that forces know: of every kind of force, and no others."""

import openmm
import pytest
from openmm import app, unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import missing_bonds
from openmm_diffsampler.mcmc import recommended_sampler
from openmm_diffsampler.targets.bonded_pairs import bonded_pairs


def _pairs(topology):
    return {tuple(sorted((a.index, b.index))) for a, b in topology.bonds()}


def _without_bonds(topology):
    bare = app.Topology()
    residue = bare.addResidue("LIG", bare.addChain())
    for atom in topology.atoms():
        bare.addAtom(atom.name, atom.element, residue)
    return bare


def _as_custom_bonds(system):
    """The same System, its harmonic bonds as a CustomBondForce (as AMOEBA's are)."""
    system = openmm.XmlSerializer.clone(system)
    index = next(i for i, f in enumerate(system.getForces()) if isinstance(f, openmm.HarmonicBondForce))
    old, new = system.getForce(index), openmm.CustomBondForce("0.5*k*(r-r0)^2")
    new.addPerBondParameter("r0")
    new.addPerBondParameter("k")
    for i in range(old.getNumBonds()):
        a, b, r0, k = old.getBondParameters(i)
        new.addBond(a, b, [r0._value, k._value])
    system.removeForce(index)
    system.addForce(new)
    return system


@pytest.mark.parametrize("name", ["alanine-dipeptide", "aspartame"])
@pytest.mark.parametrize("change", [lambda s: s, _as_custom_bonds])
def test_all_bonds_are_found_and_no_others(name, change):
    """Aspartame has Urey–Bradley terms, which are harmonic bonds over two."""
    molecule = load_system(name)
    assert bonded_pairs(change(molecule.system)) == _pairs(molecule.topology)


def test_bonds_of_amoeba_are_found():
    pdb = load_system("alanine-dipeptide")
    system = app.ForceField("amoeba2018.xml").createSystem(pdb.topology, constraints=None)
    assert sum(isinstance(force, openmm.CustomBondForce) for force in system.getForces()) == 1
    assert bonded_pairs(system) == _pairs(pdb.topology)


def test_a_ring_of_three_is_bonded_all_around():
    system, bonds, angles = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for k in range(3):
        system.addParticle(12.0)
        bonds.addBond(k, (k + 1) % 3, 0.15, 1e5)
        angles.addAngle(k, (k + 1) % 3, (k + 2) % 3, 1.05, 500.0)
    system.addForce(bonds)
    system.addForce(angles)
    assert bonded_pairs(system) == {(0, 1), (1, 2), (0, 2)}


def test_interactions_over_three_bonds_are_no_bonds():
    """CHARMM's scaled pairs may stand in a CustomBondForce."""
    molecule = load_system("alanine-dipeptide-vacuum")
    system = openmm.XmlSerializer.clone(molecule.system)
    torsions = next(f for f in system.getForces() if isinstance(f, openmm.PeriodicTorsionForce))
    scaled = openmm.CustomBondForce("1/r")
    for i in range(torsions.getNumTorsions()):
        a, *_, d = torsions.getTorsionParameters(i)[:4]
        scaled.addBond(a, d, [])
    system.addForce(scaled)
    assert bonded_pairs(system) == _pairs(molecule.topology)
    assert missing_bonds(system, molecule.mdtraj_topology) == []


def test_a_molecule_without_bonds_is_not_sampled_in_silence():
    molecule = load_system("alanine-dipeptide-vacuum")
    for topology in (_without_bonds(molecule.topology), None):
        target = OpenMMTarget(molecule.system, 300 * unit.kelvin, topology=topology, positions=molecule.positions)
        with pytest.raises(ValueError, match=r"its forces bind 21 pairs of atoms.*Add the bonds"):
            recommended_sampler(target, molecule.positions)
    sampler, why = recommended_sampler(target, molecule.positions, coordinates="cartesian")
    assert type(sampler).__name__ == "DiffusiveGibbs" and why == "as asked for"


def test_clusters_have_no_bonds_to_miss():
    cluster = load_system("lj13")
    assert missing_bonds(cluster.system, cluster.mdtraj_topology) == []
    assert type(recommended_sampler(cluster.target(), cluster.positions)[0]).__name__ == "DiffusiveGibbs"
