"""Systems by name and by path."""

import dataclasses
import re
import shutil

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler.targets import system as system_module
from openmm_diffsampler.targets.system import AnalyticSystem, list_systems, load_system, save_system

BUILT_IN = {"alanine-dipeptide", "alanine-dipeptide-vacuum", "aspartame", "dw4", "gmm40", "lj13", "lj55", "mw32"}


@pytest.fixture
def folder(tmp_path):
    """A user's own folder: a copy of lj13 called cluster."""
    lj13 = load_system("lj13")
    return save_system(tmp_path / "cluster", lj13.system, lj13.topology, lj13.positions, 300 * unit.kelvin)


def test_the_built_in_systems_are_listed_with_one_line_each():
    systems = list_systems()
    assert set(systems) == BUILT_IN
    assert all(text and "\n" not in text for text in systems.values())


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_system_loads(name):
    system = load_system(name)
    assert system.name == name
    if isinstance(system, AnalyticSystem):
        target = system.target()
        assert target.name == name and target.reduced_potential(target.normal(2, None)).isfinite().all()
    else:
        n = system.system.getNumParticles()
        assert system.positions.value_in_unit(unit.nanometer).shape == (n, 3)
        assert system.topology.getNumAtoms() == system.mdtraj_topology.n_atoms == n
        assert system.rebuild.endswith(f"build_systems {name}")


def test_analytic_systems_pass_parameters_and_keywords_on(tmp_path):
    (tmp_path / "system.yaml").write_text("density: mw32\nparameters: {n_pairs: 2}\n")
    target = load_system(tmp_path).target(dtype=torch.float32)
    assert target.event_shape == (4,) and target.dtype == torch.float32 and target.name == tmp_path.name


def test_molecular_systems_build_their_target(folder):
    system = load_system(folder)
    target = system.target(backend="torch", dtype=torch.float32)
    assert (target.name, target.backend, target.dtype) == ("cluster", "torch", torch.float32)
    assert target.system is system.system and target.temperature == system.temperature
    assert target.topology.n_atoms == 13 and target.preset_key is None
    assert target.positions.numpy() == pytest.approx(system.positions.value_in_unit(unit.nanometer))


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(FileNotFoundError, match=r"'alanine-dipeptid'.*did you mean \"alanine-dipeptide\".*gmm40, lj13"):
        load_system("alanine-dipeptid")


def test_a_wheel_has_its_systems_inside_the_package(tmp_path, monkeypatch):
    shutil.copytree(system_module._BUILT_IN[1] / "dw4", tmp_path / "wheel" / "dw4")
    monkeypatch.setattr(system_module, "_BUILT_IN", (tmp_path / "wheel", system_module._BUILT_IN[1]))
    assert set(list_systems()) == {"dw4"}
    monkeypatch.setattr(system_module, "_BUILT_IN", (tmp_path / "nowhere",))
    assert list_systems() == {}
    with pytest.raises(FileNotFoundError, match="the installation has lost its systems folder"):
        load_system("dw4")


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_folder_loads_by_path(folder, kind):
    assert load_system(kind(folder)).system.getNumParticles() == 13


def test_a_folder_here_loads_by_its_bare_name(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert load_system("cluster").system.getNumParticles() == 13


def test_a_built_in_name_wins_over_a_folder_here_and_says_so(folder, monkeypatch):
    folder.rename(folder.parent / "lj55")
    monkeypatch.chdir(folder.parent)
    with pytest.warns(UserWarning, match=r"built-in .* Write '\./lj55' for the folder"):
        assert load_system("lj55").system.getNumParticles() == 55
    assert load_system("./lj55").system.getNumParticles() == 13


def test_a_folder_without_a_name_is_called_after_itself(folder):
    (folder / "system.yaml").write_text("temperature: 310.5 K\n")
    system = load_system(folder)
    assert (system.name, system.temperature, system.length_unit) == ("cluster", 310.5 * unit.kelvin, "nanometer")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"there is no folder {re.escape(str(tmp_path / 'none'))}; save_system"):
        load_system(tmp_path / "none")


def test_a_file_is_no_folder(folder):
    with pytest.raises(NotADirectoryError, match=r"system\.xml is a file; give the folder"):
        load_system(folder / "system.xml")


@pytest.mark.parametrize("argument", [13, None])
def test_neither_name_nor_path(argument):
    with pytest.raises(TypeError, match="neither a name nor a path"):
        load_system(argument)


def test_an_empty_name():
    with pytest.raises(FileNotFoundError, match="no built-in system ''"):
        load_system("")


def test_settings_of_a_built_in_system_go_with_its_forces():
    system = load_system("lj13")
    assert dataclasses.replace(system, name="mine", temperature=200 * unit.kelvin).target().preset_key == "lj13"
    other = dataclasses.replace(system, system=load_system("lj55").system)
    assert other.preset_key is None
    stiff = openmm.HarmonicBondForce()
    stiff.addBond(0, 1, 0.3, 1000.0)
    system.system.addForce(stiff)
    assert system.preset_key is None
