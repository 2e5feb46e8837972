"""Topologies in another order than the System are told by masses; masses may be anything otherwise."""

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.targets.topology_order import require_same_order

from .reference import particles

MOLECULE = load_system("alanine-dipeptide-vacuum")
TOPOLOGY = MOLECULE.mdtraj_topology
N = TOPOLOGY.n_atoms


def with_masses(masses):
    system = openmm.XmlSerializer.clone(MOLECULE.system)
    for k, mass in enumerate(masses):
        system.setParticleMass(k, mass)
    return system


def masses():
    return np.array([MOLECULE.system.getParticleMass(k)._value for k in range(N)])


def repartitioned(heavy):
    """Masses moved from each heavy atom to its hydrogens, which get `heavy` u."""
    moved = masses()
    for a, b in TOPOLOGY.bonds:
        for h, other in ((a, b), (b, a)):
            if h.element.symbol == "H":
                moved[other.index] -= heavy - 1.008
                moved[h.index] = heavy
    return with_masses(moved)


def reordered(order, bonds=True):
    """The same atoms in another order."""
    topology, atoms = mdtraj.Topology(), list(TOPOLOGY.atoms)
    residue = topology.add_residue("MOL", topology.add_chain())
    new = {k: topology.add_atom(atoms[k].name, atoms[k].element, residue) for k in order}
    for a, b in TOPOLOGY.bonds if bonds else ():
        topology.add_bond(new[a.index], new[b.index])
    return topology


ORDERS = {
    "reversed": list(reversed(range(N))),
    "heavy atoms first": sorted(range(N), key=lambda k: -TOPOLOGY.atom(k).element.atomic_number),
    "two heavy atoms exchanged": [4 if k == 5 else 5 if k == 4 else k for k in range(N)],
}
SYSTEMS = {"natural masses": MOLECULE.system, "3 u": repartitioned(3.024), "4 u": repartitioned(4.0)}


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("bonds", [True, False])
def test_another_order_is_told(system, order, bonds):
    assert {TOPOLOGY.atom(k).element.symbol for k in (4, 5)} == {"C", "O"}
    require_same_order(system, TOPOLOGY)
    with pytest.raises(ValueError, match="another order than the System or is of another molecule"):
        require_same_order(system, reordered(ORDERS[order], bonds))


def test_targets_tell_it_of_topologies_of_both_kinds():
    wrong = reordered(ORDERS["reversed"])
    for topology in (wrong, wrong.to_openmm()):
        with pytest.raises(ValueError, match=r"atom 1 of the topology .*12 atoms differ like that"):
            OpenMMTarget(MOLECULE.system, 300 * unit.kelvin, topology, positions=MOLECULE.positions)


def test_another_molecule_of_as_many_atoms_is_told():
    topology = mdtraj.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    for _ in range(N):
        topology.add_atom("N", mdtraj.element.nitrogen, residue)
    with pytest.raises(ValueError, match="or is of another molecule"):
        require_same_order(MOLECULE.system, topology)


def deuterated():
    changed = masses()
    changed[[1, 2, 3]] = 2.014
    return changed


@pytest.mark.parametrize(
    "changed",
    [np.ones(N), np.full(N, 12.0), np.full(N, 10.0), 0.5 * masses(), 3.7 * masses(), deuterated()],
    ids=["all 1", "all 12", "all 10", "halved", "scaled", "deuterium"],
)
def test_masses_may_be_anything_else(changed):
    require_same_order(with_masses(changed), TOPOLOGY)


def test_beads_and_atoms_without_elements_pass():
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for k in range(4):
        topology.addAtom(f"B{k}", None, residue)
    require_same_order(particles(4), mdtraj.Topology.from_openmm(topology))
    for name in ("lj13", "lj55"):
        cluster = load_system(name)
        require_same_order(cluster.system, cluster.mdtraj_topology)
