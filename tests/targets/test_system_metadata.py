"""Hostile and damaged folders of systems."""

import re
import warnings

import pytest
import yaml
from openmm import unit

from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning
from openmm_diffsampler.targets.system import list_systems, load_system, save_system


@pytest.fixture
def folder(tmp_path):
    lj13 = load_system("lj13")
    return save_system(tmp_path / "cluster", lj13.system, lj13.topology, lj13.positions, 300 * unit.kelvin)


def test_built_in_systems_and_saved_ones_are_sealed(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnsealedFileWarning)
        assert load_system(folder).name == "cluster"
        for name in list_systems():
            load_system(name)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("system.yaml", "300", "310"),
        ("system.yaml", "cluster", "clusters"),
        ("system.xml", "<Particle mass=", "<Particle  mass="),
        ("topology.pdb", "0.", "1."),
        ("topology.json", "13", "12"),
    ],
)
def test_a_change_of_any_file_is_noticed(folder, file, old, new):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(DamagedFileError, match=f"{re.escape(str(folder / file))} was damaged or changed"):
        load_system(folder)


def test_files_of_two_folders_are_not_mixed(folder, tmp_path):
    lj13 = load_system("lj13")
    other = save_system(tmp_path / "other", lj13.system, lj13.topology, lj13.positions * 1.01, 300 * unit.kelvin)
    (folder / "topology.pdb").write_bytes((other / "topology.pdb").read_bytes())
    with pytest.raises(DamagedFileError, match="changed after it was saved"):
        load_system(folder)


def test_other_line_ends_are_no_change(folder):
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_system(folder).temperature == 300 * unit.kelvin


def test_who_means_a_change_deletes_the_checksums(folder):
    entries = yaml.safe_load((folder / "system.yaml").read_text())
    del entries["sha256"], entries["files"]
    (folder / "system.yaml").write_text(yaml.safe_dump(entries | {"temperature": "310 kelvin"}))
    with pytest.warns(UnsealedFileWarning, match="no checksum"):
        assert load_system(folder).temperature == 310 * unit.kelvin


@pytest.mark.parametrize("name", ["../../escaped", "/absolute", "a\\b", "..", ".hidden", "", " ", "x" * 1000, "a\nb"])
def test_names_are_no_paths(folder, name):
    (folder / "system.yaml").write_text(yaml.safe_dump({"name": name, "temperature": "300 kelvin"}))
    with pytest.raises(ValueError, match=r"(?s)system\.yaml: name is .*no / or"):
        load_system(folder)


def test_a_folder_without_a_name_has_one_that_can_be_used(folder):
    odd = folder.rename(folder.with_name(".od\\d"))
    (odd / "system.yaml").write_text("temperature: 300 kelvin\n")
    assert load_system(odd).name == "_od_d"


def test_errors_are_short_whatever_the_file_holds(folder):
    lists = ["&b0 [" + ",".join("x" * 9) + "]"] + [f"&b{k} [{','.join([f'*b{k - 1}'] * 9)}]" for k in range(1, 12)]
    values = [f"[{', '.join(lists)}]", "[" * 1500, "{" * 300 + "}" * 300, "'" + "x" * 100_000 + "'", "1" * 5000]
    values += ["1" + ":59" * 100_000]  # a number to the base of sixty
    for key in ("temperature", "description", "name", "density", "parameters", "length_unit", "nonsense"):
        for value in values:
            extra = "" if key in ("temperature", "density") else "temperature: 300 kelvin\n"
            (folder / "system.yaml").write_text(f"{extra}{key}: {value}\n")
            try:
                load_system(folder)
            except ValueError as error:
                assert str(folder / "system.yaml") in str(error) and len(str(error)) < 2000
            else:
                assert (key, value[0]) == ("description", "'")  # a long text is one


@pytest.mark.parametrize("value", ["1000000000", "-.inf", ".nan", "true", "[1]", "'16'", "2024-13-45", "1e400"])
def test_parameters_of_densities_are_bounded_numbers(folder, value):
    (folder / "system.yaml").write_text(f"density: mw32\nparameters: {{n_pairs: {value}}}\n")
    with pytest.raises(ValueError, match=r"system\.yaml"):
        load_system(folder)
