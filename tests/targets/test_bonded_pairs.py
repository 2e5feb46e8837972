"""Bonds by every kind of force, and what is none: restraints, Urey–Bradley terms, terms over three bonds."""

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import MissingBondsWarning, missing_bonds
from openmm_diffsampler.mcmc import recommended_sampler, recommended_settings
from openmm_diffsampler.targets.bonded_pairs import bonded_pairs
from openmm_diffsampler.targets.terms.expression_bounds import require_readable_expressions

MOLECULE = load_system("alanine-dipeptide-vacuum")
TOPOLOGY = MOLECULE.mdtraj_topology
X = np.array(MOLECULE.positions.value_in_unit(unit.nanometer))
PAIRS = {tuple(sorted((a.index, b.index))) for a, b in TOPOLOGY.bonds}


def only(*kinds):
    """The System with these forces of it."""
    system = openmm.XmlSerializer.clone(MOLECULE.system)
    for k in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(k), kinds):
            system.removeForce(k)
    return system


def with_force(force):
    system = only(())
    system.addForce(force)
    return system


def compound():
    force = openmm.CustomCompoundBondForce(2, "1e5*(distance(p1,p2)-0.1)^2")
    for pair in PAIRS:
        force.addBond(pair, [])
    return force


def centroid():
    force = openmm.CustomCentroidBondForce(2, "1e5*(distance(g1,g2)-0.1)^2")
    for k in range(22):
        force.addGroup([k])
    for pair in PAIRS:
        force.addBond(pair, [])
    return force


def custom(energy="1e5*(r-0.12)^2"):
    force = openmm.CustomBondForce(energy)
    for pair in PAIRS:
        force.addBond(*pair, [])
    return force


def collective():
    force = openmm.CustomCVForce("bonds")
    force.addCollectiveVariable("bonds", custom())
    return force


def ryckaert_bellemans():
    force = openmm.RBTorsionForce()
    periodic = only(openmm.PeriodicTorsionForce)  # a force lives as long as its System
    [torsions] = periodic.getForces()
    for k in range(torsions.getNumTorsions()):
        force.addTorsion(*torsions.getTorsionParameters(k)[:4], 1, 0, 0, 0, 0, 0)
    return force


def exclusions(kind):
    force = openmm.CustomNonbondedForce("1/r^12") if kind == "custom" else openmm.GayBerneForce()
    for _ in range(22):
        force.addParticle([]) if kind == "custom" else force.addParticle(0.3, 1, -1, -1, 0.3, 0.3, 0.3, 1, 1, 1)
    force.createExclusionsFromBonds(sorted(PAIRS), 3) if kind == "custom" else [
        force.addException(a, b, 0, 0) for a, b in sorted(PAIRS)
    ]
    return force


SYSTEMS = {
    "harmonic bonds": only(openmm.HarmonicBondForce),
    "exclusions": only(openmm.NonbondedForce),
    "angles": only(openmm.HarmonicAngleForce),
    "no force": only(()),
    "custom bonds": with_force(custom()),
    "compounds": with_force(compound()),
    "centroids": with_force(centroid()),
    "collective variables": with_force(collective()),
    "custom exclusions": with_force(exclusions("custom")),
}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_bonds_are_found_by_any_force(system):
    bare = TOPOLOGY.copy()
    bare._bonds = []
    assert missing_bonds(system, bare, X) == sorted(PAIRS)
    assert missing_bonds(system, None, X) == sorted(PAIRS)
    assert missing_bonds(system, TOPOLOGY, X) == []


@pytest.mark.parametrize("force", [ryckaert_bellemans(), exclusions("Gay-Berne")], ids=["torsions", "exceptions"])
def test_terms_of_many_particles_tell_the_bonds_within_them(force):
    found = bonded_pairs(with_force(force), None, X)
    assert found <= PAIRS and len(found) > 15


def test_one_missing_bond_of_a_custom_force_is_told():
    topology = TOPOLOGY.copy()
    dropped = topology._bonds.pop(8)
    pair = tuple(sorted(atom.index for atom in dropped))
    for system in SYSTEMS.values():
        found = missing_bonds(system, topology, X)
        assert found == [pair] or (system.getNumForces() == 0 and found == [pair])
    target = OpenMMTarget(MOLECULE.system, 300 * unit.kelvin, topology, positions=MOLECULE.positions)
    with pytest.warns(MissingBondsWarning, match=f"lacks 1 bonds that the System has .{topology.atom(pair[0])}–"):
        recommended_settings(target, MOLECULE.positions)


def test_restraints_and_terms_over_more_bonds_are_none():
    system = openmm.XmlSerializer.clone(MOLECULE.system)
    restraint, hydrogen_bond = openmm.HarmonicBondForce(), openmm.CustomBondForce("500*(r-r0)^2")
    restraint.addBond(0, 21, 0.9, 1000.0)  # soft and long
    hydrogen_bond.addPerBondParameter("r0")
    hydrogen_bond.addBond(5, 17, [0.19])
    scaled = openmm.CustomBondForce("0.5*138.9*q/r")
    scaled.addPerBondParameter("q")
    for a in range(22):
        for b in range(a + 4, 22):
            scaled.addBond(a, b, [0.1])
    for force in (restraint, hydrogen_bond, scaled):
        system.addForce(force)
    x = X + 0.003 * np.random.default_rng(0).normal(size=X.shape)
    assert bonded_pairs(system, TOPOLOGY, x) == PAIRS
    assert bonded_pairs(system) == PAIRS


def ring(stretched=1.0):
    """Cyclopropane's carbons and a fourth that Urey–Bradley terms reach: all by terms of pairs."""
    force, system = openmm.HarmonicBondForce(), openmm.System()
    x = np.array([[0, 0, 0], [0.15, 0, 0], [0.075, 0.13, 0], [-0.11, -0.1, 0]])
    for a, b in ((0, 1), (1, 2), (0, 2), (0, 3)):
        force.addBond(a, b, float(np.linalg.norm(x[a] - x[b])), 2e5)
    force.addBond(1, 3, float(np.linalg.norm(x[1] - x[3])), 8000.0)
    for _ in range(4):
        system.addParticle(12.011)
    system.addForce(force)
    return system, stretched * x


@pytest.mark.parametrize("stretched", [1.0, 1.3])
def test_rings_of_three_are_told_from_urey_bradley_terms(stretched):
    system, x = ring(stretched)
    assert bonded_pairs(system, None, x) == {(0, 1), (1, 2), (0, 2), (0, 3)}


def test_clusters_have_no_bonds():
    for name in ("lj13", "lj55"):
        cluster = load_system(name)
        assert bonded_pairs(cluster.system, cluster.mdtraj_topology, np.array(cluster.positions._value)) == set()


def test_amoeba_is_read_and_its_bonds_are_found_by_multipoles_too():
    system = app.ForceField("amoeba2018.xml").createSystem(MOLECULE.topology, constraints=None)
    require_readable_expressions(system)
    for k in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(k), openmm.AmoebaMultipoleForce):
            system.removeForce(k)
    assert bonded_pairs(system, None, X) == PAIRS


def ligand_without_bonds():
    """Two molecules, of which a PDB file knows the bonds of one."""
    system, topology = openmm.System(), mdtraj.Topology()
    chain, old = topology.add_chain(), list(TOPOLOGY.atoms)
    bonds, n = openmm.HarmonicBondForce(), len(old)
    bonded = only(openmm.HarmonicBondForce)  # a force lives as long as its System
    [given] = bonded.getForces()
    for copy in range(2):
        residue = topology.add_residue(("ALA", "LIG")[copy], chain)
        new = [topology.add_atom(atom.name, atom.element, residue) for atom in old]
        for k in range(n):
            system.addParticle(MOLECULE.system.getParticleMass(k))
        for k in range(given.getNumBonds()):
            a, b, *values = given.getBondParameters(k)
            bonds.addBond(a + n * copy, b + n * copy, *values)
        if not copy:
            for a, b in TOPOLOGY.bonds:
                topology.add_bond(new[a.index], new[b.index])
    bonds.addBond(0, n, 0.8, 100.0)
    system.addForce(bonds)
    return system, topology, np.concatenate([X, X + np.array([0, 0, 0.8])])


def test_a_ligand_without_bonds_is_refused_beside_a_protein_with_them():
    system, topology, x = ligand_without_bonds()
    with pytest.warns(MissingBondsWarning, match="lacks 21 bonds that the System has"):
        target = OpenMMTarget(system, 300 * unit.kelvin, topology, positions=x)
    with pytest.raises(ValueError, match=r"without bonds of 1 of its molecules \(that of LIG1-H1\)"):
        recommended_sampler(target, x)
    with pytest.warns(MissingBondsWarning, match="are not turned"):
        sampler, why = recommended_sampler(target, x, coordinates="cartesian")
    assert type(sampler).__name__ == "DiffusiveGibbs" and why == "as asked for"
