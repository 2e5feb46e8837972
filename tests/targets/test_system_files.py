"""Every way in which a system's folder can be damaged."""

import os
import re

import openmm
import pytest
import yaml
from openmm import unit

from openmm_diffsampler.targets.system import load_system, save_system


@pytest.fixture
def folder(tmp_path):
    """A user's own folder: a copy of lj13 called cluster, without checksums, as one that was written by hand."""
    lj13 = load_system("lj13")
    folder = save_system(tmp_path / "cluster", lj13.system, lj13.topology, lj13.positions, 300 * unit.kelvin)
    entries = yaml.safe_load((folder / "system.yaml").read_text())
    del entries["files"], entries["sha256"]
    (folder / "system.yaml").write_text(yaml.safe_dump(entries))
    (folder / "topology.json").unlink()
    return folder


@pytest.mark.parametrize("file", ["topology.pdb", "system.xml", "system.yaml"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(folder / file))} is missing.*save_system writes"):
        load_system(folder)


@pytest.mark.parametrize("file", ["topology.pdb", "system.xml", "system.yaml"])
def test_a_binary_file_is_named(folder, file):
    (folder / file).write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / file))} is not a text file"):
        load_system(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temperature: [300", "is not valid YAML; correct the place.*line 1"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML.*could not determine a constructor"),
        ("- 300 kelvin", "holds list instead of entries"),
        ("", "holds NoneType instead of entries"),
        ("name: x", "lacks the entry 'temperature' .*it has name; add"),
        ("temprature: 300 kelvin", r"lacks the entry 'temperature'.*is 'temprature' a misspelling\?"),
        ("temperature: 300", "has temperature: 300; give a number and the unit kelvin"),
        ("temperature: '300'", "has temperature: '300'; give a number and the unit"),
        ("temperature: 25 celsius", "has temperature: '25 celsius'; give a number and the unit kelvin"),
        ("temperature: warm kelvin", "has temperature: 'warm kelvin'; give a positive number"),
        ("temperature: -3 kelvin", "has temperature: '-3 kelvin'; give a positive number"),
        ("temperature: nan kelvin", "has temperature: 'nan kelvin'; give a positive number"),
        ("temperature: 300 kelvin\nforcefield: x", r"unknown entry 'forcefield' \(did you mean \"force_field\"\?\)"),
        ("temperature: 300 kelvin\nparameters: {}", "unknown entry 'parameters'; allowed are temperature, force_field"),
        ("temperature: 300 kelvin\n5: x", "unknown entry 5; allowed are"),
        ("temperature: 300 kelvin\nname: 5", "has name: 5, which is not text; put it in quotes"),
        (
            "temperature: 300 kelvin\nlength_unit: angstrom",
            "length_unit: angstrom; supported are nanometer and reduced",
        ),
        ("density: gmm4", r"unknown density 'gmm4' \(did you mean \"gmm40\"\?\); supported are gmm40, mw32, dw4"),
        ("density: [gmm40]", "is not text"),
        ("density: mw32\ntemperature: 300 kelvin", "unknown entry 'temperature'; allowed are density, parameters"),
        ("density: mw32\nparameters: 16", "has parameters: 16; give entries"),
        ("density: mw32\nparameters: {pairs: 16}", r"unknown parameter 'pairs' for mw32.*allowed are n_pairs"),
        ("density: dw4\nparameters: {n: 4}", "unknown parameter 'n' for dw4; allowed are none"),
    ],
)
def test_a_wrong_yaml_is_explained(folder, text, message):
    (folder / "system.yaml").write_text(text)
    with pytest.raises(ValueError, match="(?s)" + re.escape(str(folder / "system.yaml")) + ".*" + message):
        load_system(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read by openmm"),
        ("<System", "cannot be read by openmm"),
        ("<html></html>", "cannot be read by openmm .Unsupported object type.; write it with save_system"),
        (
            openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)),
            "holds an openmm VerletIntegrator, not a System",
        ),
        (openmm.XmlSerializer.serialize(openmm.HarmonicBondForce()), "holds an openmm HarmonicBondForce, not a System"),
    ],
)
def test_a_wrong_xml_is_explained(folder, text, message):
    (folder / "system.xml").write_text(text)
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / 'system.xml'))} {message}"):
        load_system(folder)


def test_a_truncated_xml_is_explained(folder):
    file = folder / "system.xml"
    file.write_text(file.read_text()[:300])
    with pytest.raises(ValueError, match=r"system\.xml cannot be read by openmm"):
        load_system(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "is not a PDB file that openmm can read"),
        (lambda text: "hello", "is not a PDB file that openmm can read"),
        (lambda text: re.sub(r"-?\d+\.\d{3}", "  xx.xxx", text, count=1), "is not a PDB file that openmm can read"),
        (lambda text: re.sub(r" +-?\d+\.\d{3}", "         nan", text, count=1), "has NaN or infinite coordinates"),
    ],
)
def test_a_wrong_pdb_is_explained(folder, change, message):
    file = folder / "topology.pdb"
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=f"{re.escape(str(file))} {message}"):
        load_system(folder)


def test_atom_counts_that_differ_are_told(folder):
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(load_system("lj55").system))
    with pytest.raises(
        ValueError, match=r"topology\.pdb has 13 atoms and .*system\.xml has 55 particles; save both again"
    ):
        load_system(folder)


@pytest.mark.parametrize("name", ["system.xml", "topology.pdb", "system.yaml"])
@pytest.mark.parametrize("what", ["a device", "a pipe"])
def test_what_is_no_plain_file_is_not_read(folder, name, what):
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero") if what == "a device" else os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=f"{name} is no plain file"):
        load_system(folder)
