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


def test_a_unit_cell_of_zeros_is_none(odd):
    odd.setUnitCellDimensions(openmm.Vec3(0, 0, 0) * unit.nanometer)
    assert topology_entries(odd)["box"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("atoms",), []),
        (("atoms", "residue", 0), 5),
        (("atoms", "residue", 0), True),
        (("atoms", "residue"), [1, 0, 0]),
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
