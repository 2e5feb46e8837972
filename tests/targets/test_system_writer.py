"""Saving a system's folder."""

import numpy as np
import openmm
import pytest
from openmm import app, unit

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


def _renamed(name):
    arguments = _trimer()
    for atom in arguments["topology"].atoms():
        atom.name = name
    return {"topology": arguments["topology"]}


def _bonded():
    topology = _trimer()["topology"]
    topology.addBond(*list(topology.atoms())[:2])
    for residue in topology.residues():
        residue.name = "ALA"
    return {"topology": topology}


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
        (_renamed("Ar"), ValueError, "residue CLU 1 has several atoms called 'Ar'"),
        (_bonded(), ValueError, "the topology has 1 bonds and 0 after the PDB format"),
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
