"""Saving a system's folder."""

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmm_diffsampler._common.topologies import topology_entries
from openmm_diffsampler.targets.system import MolecularSystem, load_system, save_system


def _trimer(n=3):
    """Arguments of save_system for a bonded chain of `n` argon atoms."""
    system, topology = openmm.System(), app.Topology()
    bonds = openmm.HarmonicBondForce()
    residue = topology.addResidue("CLU", topology.addChain())
    for i in range(n):
        system.addParticle(39.948)
        topology.addAtom(f"Ar{i + 1}", app.Element.getBySymbol("Ar"), residue)
        if i:
            bonds.addBond(i - 1, i, 0.1 + 1e-13 * i, 1000.0 / 3)
    system.addForce(bonds)
    positions = np.random.default_rng(0).normal(size=(n, 3)) * unit.nanometer
    return {"system": system, "topology": topology, "positions": positions, "temperature": 300 * unit.kelvin}


@pytest.fixture
def folder(tmp_path):
    return save_system(tmp_path / "trimer", **_trimer())


def test_round_trip(tmp_path):
    arguments = _trimer()
    texts = {
        "description": "three: atoms",
        "force_field": "springs",
        "origin": "Köhler",
        "rebuild": "make",
        "length_unit": "reduced",
    }
    folder = save_system(tmp_path / "a" / "trimer", **arguments, **texts)
    loaded = load_system(folder)
    assert isinstance(loaded, MolecularSystem) and loaded.name == "trimer"
    assert openmm.XmlSerializer.serialize(loaded.system) == openmm.XmlSerializer.serialize(arguments["system"])
    assert loaded.temperature == 300 * unit.kelvin
    difference = (loaded.positions - arguments["positions"]).value_in_unit(unit.nanometer)
    assert np.abs(difference).max() <= 0.5001e-4
    assert [a.name for a in loaded.topology.atoms()] == ["Ar1", "Ar2", "Ar3"]
    assert {key: getattr(loaded, key) for key in texts} == texts
    assert sorted(path.name for path in folder.parent.iterdir()) == ["trimer"]


def test_temperatures_come_back_to_the_last_digit(tmp_path):
    arguments = _trimer() | {"temperature": (1000.0 / 3) * unit.kelvin}
    assert load_system(save_system(tmp_path / "x", **arguments)).temperature == (1000.0 / 3) * unit.kelvin


def test_a_folder_with_files_is_not_overwritten(folder):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(FileExistsError, match="exists; choose another folder, or set overwrite=True"):
        save_system(folder, **_trimer(4))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_overwriting_keeps_what_else_is_in_the_folder(folder):
    (folder / "pretrained").mkdir()
    save_system(folder, **_trimer(4), overwrite=True)
    assert load_system(folder).system.getNumParticles() == 4
    assert (folder / "pretrained").is_dir()


def test_an_empty_folder_is_filled(tmp_path):
    assert load_system(save_system(tmp_path, **_trimer())).system.getNumParticles() == 3


def test_a_file_is_not_overwritten(folder):
    with pytest.raises(FileExistsError, match="is a file"):
        save_system(folder / "system.xml", **_trimer(), overwrite=True)


def _renamed(*names, residue="CLU"):
    topology = _trimer()["topology"]
    for atom, name in zip(topology.atoms(), names, strict=True):
        atom.name = name
    next(topology.residues()).name = residue
    return topology


def _bonded():
    """A bond that a PDB file of a standard residue has no room for, as in head-to-tail cyclic peptides."""
    topology = _renamed("CA", "N", "C", residue="ALA")
    topology.addBond(*list(topology.atoms())[::2])
    return topology


def _in_a_cell_of_zeros():
    topology = _trimer()["topology"]
    topology.setUnitCellDimensions(openmm.Vec3(0, 0, 0) * unit.nanometer)
    return topology


ODD = {
    "one name for all": _renamed("Ar", "Ar", "Ar"),
    "names of five letters": _renamed("C1000", "C1001", "C1002"),
    "names without letters": _renamed("", "é", "日本"),
    "a residue of a long name": _renamed("A", "B", "C", residue="LIGAND-17"),
    "a bond that PDB does not know": _bonded(),
    "a unit cell of zeros": _in_a_cell_of_zeros(),
}


@pytest.mark.parametrize("what", ODD)
def test_topologies_that_a_pdb_file_cannot_hold_come_back(tmp_path, what):
    arguments = _trimer() | {"topology": ODD[what]}
    loaded = load_system(save_system(tmp_path / "x", **arguments))
    assert topology_entries(loaded.topology) == topology_entries(ODD[what])
    assert loaded.mdtraj_topology.n_bonds == ODD[what].getNumBonds()
    difference = (loaded.positions - arguments["positions"]).value_in_unit(unit.nanometer)
    assert np.abs(difference).max() <= 0.5001e-4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"system": "<System/>"}, TypeError, "system is a str; give an openmm.System"),
        ({"topology": None}, TypeError, "topology is a NoneType; give an openmm.app.Topology"),
        ({"positions": np.zeros((3, 3))}, TypeError, "positions have no unit"),
        ({"positions": np.zeros((3, 3)) * unit.kelvin}, TypeError, "positions are in kelvin, which is not a length"),
        ({"positions": np.zeros((2, 3)) * unit.nanometer}, ValueError, r"shape \(2, 3\); .* so give \(3, 3\)"),
        ({"positions": np.full((3, 3), np.nan) * unit.nanometer}, ValueError, "positions contain NaN"),
        (
            {"positions": np.full((3, 3), 123456.78912) * unit.nanometer},
            ValueError,
            "positions change by .* in the PDB format",
        ),
        ({"topology": _trimer(4)["topology"]}, ValueError, "the system has 3 particles and the topology 4 atoms"),
        ({"temperature": 300}, TypeError, "temperature is 300, without a unit"),
        ({"temperature": 300 * unit.nanometer}, TypeError, "which is not a temperature"),
        ({"temperature": 0 * unit.kelvin}, ValueError, "must be positive"),
        ({"length_unit": "angstrom"}, ValueError, "length_unit is 'angstrom'; supported are nanometer and reduced"),
        ({"origin": None}, TypeError, "origin is None; give text"),
    ],
)
def test_wrong_arguments_are_refused_and_leave_nothing_behind(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        save_system(tmp_path / "x", **(_trimer() | changes))
    assert list(tmp_path.iterdir()) == []
