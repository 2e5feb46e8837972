"""Topologies as entries: nothing is lost, and nothing odd is let through."""

import copy
import json

import mdtraj
import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_diffsampler._common.topologies import mdtraj_topology, openmm_topology, topology_entries


@pytest.fixture
def odd():
    """What a PDB file has no room for."""
    topology = app.Topology()
    residue = topology.addResidue("LIGAND", topology.addChain("long chain"), "-12", "B")
    carbon, nitrogen = app.element.carbon, app.element.nitrogen
    atoms = [topology.addAtom("C10001", carbon, residue), topology.addAtom("C10001", nitrogen, residue, "x7")]
    atoms += [topology.addAtom("LP", None, topology.addResidue("Ünï", topology.addChain()))]
    topology.addBond(atoms[1], atoms[0], app.topology.Double, 2)
    topology.addBond(atoms[0], atoms[2])
    topology.setPeriodicBoxVectors(np.eye(3) * 2.5 * unit.nanometer)
    return topology


def test_a_topology_of_openmm_comes_back_exactly(odd):
    entries = topology_entries(odd)
    assert entries["atoms"]["name"] == ["C10001", "C10001", "LP"] and entries["atoms"]["element"] == ["C", "N", ""]
    assert entries["residues"]["insertion code"] == ["B", ""] and entries["bonds"]["type"] == ["Double", ""]
    back = openmm_topology(json.loads(json.dumps(entries)))
    assert topology_entries(back) == entries
    assert back.getPeriodicBoxVectors()[0][0] == 2.5 * unit.nanometer


def test_a_topology_of_mdtraj_comes_back_exactly(odd):
    topology = mdtraj.Topology.from_openmm(odd)
    back = mdtraj_topology(topology_entries(topology))
    assert back == topology and topology_entries(back) == topology_entries(topology)
    assert [(a.index, b.index) for a, b in back.bonds] == [(0, 1), (0, 2)]
    assert [a.serial for a in back.atoms] == [a.serial or a.index + 1 for a in topology.atoms]


def test_either_class_gives_the_same_molecule(odd):
    ours, theirs = (topology_entries(t) for t in (odd, mdtraj_topology(topology_entries(odd))))
    assert ours["bonds"] == theirs["bonds"] and ours["atoms"]["name"] == theirs["atoms"]["name"]
    assert ours["residues"]["name"] == theirs["residues"]["name"]


@pytest.mark.parametrize("lengths", [(0, 0, 0), (1, 0, 1), (-1, 1, 1), (1e8, 1e8, 1e8), (1, float("nan"), 1)])
def test_what_is_no_unit_cell_is_none(odd, lengths):
    odd.setUnitCellDimensions(openmm.Vec3(*lengths) * unit.nanometer)
    assert _read_back(openmm_topology, odd).getPeriodicBoxVectors() is None


def test_a_cell_that_openmm_would_not_take_is_the_reduced_one_of_its_lattice(odd):
    vectors = np.array([[3, 0, 0], [2, 3, 0], [-2, 2, 3.0]])
    odd._periodicBoxVectors = unit.Quantity([openmm.Vec3(*row) for row in vectors], unit.nanometer)
    reduced = np.array(topology_entries(odd)["box"])
    steps = reduced @ np.linalg.inv(vectors)
    assert steps == pytest.approx(np.round(steps)) and np.linalg.det(steps) == pytest.approx(1)
    back = _read_back(openmm_topology, odd)
    assert np.array(back.getPeriodicBoxVectors().value_in_unit(unit.nanometer)) == pytest.approx(reduced, abs=0)


def _read_back(build, topology):
    """What comes back from a JSON file."""
    entries = topology_entries(topology)
    back = build(json.loads(json.dumps(entries)))
    assert topology_entries(back) == entries
    return back


@pytest.mark.parametrize("build", [openmm_topology, mdtraj_topology])
def test_every_element_comes_back(build):
    elements = app.Element._elements_by_symbol.values()
    topology = app.Topology()
    residue = topology.addResidue("ALL", topology.addChain())
    for element in elements:
        topology.addAtom(element.symbol, element, residue)
    back = _read_back(build, topology)
    atoms = back.atoms() if build is openmm_topology else back.atoms
    assert [atom.element.symbol for atom in atoms] == [element.symbol for element in elements]


def test_numbers_of_any_type_are_written():
    topology = mdtraj.Topology()
    residue = topology.add_residue(12, topology.add_chain(), resSeq=np.int64(-3))
    atom = topology.add_atom(7, mdtraj.element.carbon, residue, serial=np.int32(5))
    # Early versions of mdtraj have none.
    charge = np.float64(-1) if hasattr(atom, "formal_charge") else None
    atom.formal_charge = charge
    back = _read_back(mdtraj_topology, topology).atom(0)
    assert (back.name, back.serial, back.residue.name, back.residue.resSeq) == ("7", 5, "12", -3)
    assert topology_entries(topology)["atoms"]["charge"] == [charge]


def test_a_chain_without_id_has_none_when_it_comes_back():
    topology = mdtraj.Topology()
    for name in (None, "B"):
        topology.add_atom("C", mdtraj.element.carbon, topology.add_residue("A", topology.add_chain(name)))
    assert [chain.chain_id for chain in _read_back(mdtraj_topology, topology).chains] == [None, "B"]


def test_atoms_in_another_order_than_their_residues_are_for_mdtraj_alone():
    topology = mdtraj.Topology()
    residues = [topology.add_residue(name, topology.add_chain("A")) for name in ("A", "B")]
    for i, residue in enumerate([*residues, residues[0]]):
        topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
    topology.add_bond(topology.atom(0), topology.atom(2))
    back = _read_back(mdtraj_topology, topology)
    assert [(back.atom(i).name, back.atom(i).residue.index) for i in range(3)] == [("C0", 0), ("C1", 1), ("C2", 0)]
    assert [(a.name, b.name) for a, b in back.bonds] == [("C0", "C2")]
    with pytest.raises(ValueError, match="not in the order of what holds them"):
        openmm_topology(topology_entries(topology))


def test_bonds_that_are_none_or_unknown_do_no_harm(odd):
    first, second, _ = odd.atoms()
    odd.addBond(first, first)
    odd.addBond(first, second, None, 4)
    odd.addBond(first, second, None, 99)
    assert [bond.order for bond in _read_back(openmm_topology, odd).bonds()] == [2, None, 4, None]
    assert [bond.order for bond in mdtraj_topology(topology_entries(odd)).bonds] == [2, None, None, None]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("atoms",), []),
        (("atoms", "residue", 0), 5),
        (("atoms", "residue", 0), True),
        (("atoms", "name", 0), None),
        (("atoms", "name", 0), "x" * 5000),
        (("atoms", "element", 0), "Qq"),
        (("atoms", "name"), ["C"]),
        (("residues", "chain", 0), -1),
        (("bonds", "first", 0), 99),
        (("bonds", "first", 0), 1.0),
        (("bonds", "first", 0), 1),
        (("bonds", "type", 0), "Quintuple"),
        (("bonds", "order", 0), 10**30),
        (("box",), [[1]]),
        (("box",), [[1, 0, 0], [0, float("nan"), 0], [0, 0, 1]]),
        (("box",), [[1, 0, 0], [0.9, 1, 0], [0, 0, 1]]),
        (("box",), [[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        (("chains", "id", 0), {"a": 1}),
    ],
)
def test_odd_entries_are_refused(odd, path, value):
    entries = copy.deepcopy(topology_entries(odd))
    *outer, last = path
    inside = entries
    for key in outer:
        inside = inside[key]
    inside[last] = value
    for build in (openmm_topology, mdtraj_topology):
        with pytest.raises(ValueError, match="topology"):
            build(entries)


@pytest.mark.parametrize("entries", [None, [], {}, {"format": 1}, "text"])
def test_what_is_no_topology_is_refused(entries):
    with pytest.raises(ValueError, match="topology has entries"):
        openmm_topology(entries)
