"""The shipped folders are what their builders make."""

import re

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_diffsampler.coordinates import rotatable_torsions
from openmm_diffsampler.targets import build_systems
from openmm_diffsampler.targets.build_systems import BUILDERS, build_system, icosahedron, is_l_alanine, main
from openmm_diffsampler.targets.system import load_system, save_system
from openmm_diffsampler.targets.units import thermal_energy

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _xml(system):
    return re.sub(r'openmmVersion="[^"]*"', "", openmm.XmlSerializer.serialize(system))


def _energies_and_forces(system, configurations):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    for positions in configurations:
        context.setPositions(positions)
        state = context.getState(energy=True, forces=True)
        yield state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "aspartame" else []) for n in sorted(BUILDERS)]
)
def test_rebuilding_gives_the_shipped_system(name, tmp_path):
    pytest.importorskip("openmmtools")
    shipped, rebuilt = load_system(name), load_system(build_system(name, tmp_path / name))
    for key in ("name", "description", "temperature", "length_unit", "force_field", "origin", "rebuild"):
        assert getattr(rebuilt, key) == getattr(shipped, key)
    assert rebuilt.mdtraj_topology == shipped.mdtraj_topology
    positions = shipped.positions.value_in_unit(unit.nanometer)
    np.testing.assert_allclose(rebuilt.positions.value_in_unit(unit.nanometer), positions, atol=2e-4)
    kinds = [[type(force).__name__ for force in s.system.getForces()] for s in (rebuilt, shipped)]
    assert kinds[0] == kinds[1]
    if _xml(rebuilt.system) != _xml(shipped.system):  # another openmm may write the same System differently
        configurations = positions + np.random.default_rng(0).normal(scale=0.005, size=(5, *positions.shape))
        pairs = zip(*(_energies_and_forces(s.system, configurations) for s in (rebuilt, shipped)), strict=True)
        for (energy, forces), (shipped_energy, shipped_forces) in pairs:
            assert energy == pytest.approx(shipped_energy, rel=1e-9)
            np.testing.assert_allclose(forces, shipped_forces, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("name", ["alanine-dipeptide", "alanine-dipeptide-vacuum"])
def test_alanine_dipeptide_is_left_handed_and_flexible(name):
    system = load_system(name)
    positions = system.positions.value_in_unit(unit.nanometer)
    assert is_l_alanine(system.topology, positions)
    assert not is_l_alanine(system.topology, -positions)
    assert system.system.getNumConstraints() == 0
    forces = [type(force).__name__ for force in system.system.getForces()]
    assert "CMMotionRemover" not in forces
    assert ("CustomGBForce" in forces) == (name == "alanine-dipeptide")
    assert system.system.getNumParticles() == 22 and system.topology.getNumBonds() == 21


def test_aspartame_is_neutral_left_handed_and_flexible():
    system = load_system("aspartame")
    index = {atom.name: atom.index for atom in system.topology.atoms()}
    positions = system.positions.value_in_unit(unit.nanometer)
    for k in "12":
        n, c, cb = (positions[index[name + k]] - positions[index["CA" + k]] for name in ("N", "C", "CB"))
        assert n @ np.cross(c, cb) > 0
    assert system.system.getNumConstraints() == 0 and system.system.getNumParticles() == 39
    (charges,) = (force for force in system.system.getForces() if isinstance(force, openmm.NonbondedForce))
    assert sum(charges.getParticleParameters(i)[0]._value for i in range(39)) == pytest.approx(0, abs=1e-9)
    names = {name: i for i, name in index.items()}
    middle = {f"{names[j]}-{names[k]}" for _, j, k, _ in rotatable_torsions(system.mdtraj_topology)}
    ends = {"N1-CA1", "OM-CM"}  # of ammonium and methyl
    amide_and_ester = {"C1-N2", "C2-OM"}
    others = {"CA1-C1", "CA1-CB1", "CB1-CG1", "N2-CA2", "CA2-C2", "CA2-CB2", "CB2-CR1"}
    assert middle == ends | amide_and_ester | others


def test_aspartame_in_closed_form_agrees_with_openmm():
    assert load_system("aspartame").target(backend="kernel").backend == "kernel"  # compared as it is made


@pytest.mark.parametrize(("name", "lowest"), [("lj13", -83.1), ("lj55", -491.6)])
def test_clusters_start_at_rest_with_unit_thermal_energy(name, lowest):
    system = load_system(name)
    assert thermal_energy(system.temperature) == 1.0
    ((energy, forces),) = _energies_and_forces(system.system, [system.positions.value_in_unit(unit.nanometer)])
    assert energy == pytest.approx(lowest, abs=0.1)
    assert np.abs(forces).max() < 0.2  # positions are rounded to 0.0001 nm


@pytest.mark.parametrize(("n_shells", "n_contacts"), [(1, 42), (2, 234)])
def test_icosahedra_have_the_contacts_of_mackay(n_shells, n_contacts):
    """42 and 234 nearest-neighbour contacts (Mackay 1962), 5 % shorter along the radius than on the surface."""
    sites = icosahedron(n_shells)
    distance = np.linalg.norm(sites[:, None] - sites, axis=-1)[np.triu_indices(len(sites), 1)]
    assert distance.min() == pytest.approx(0.9510565, abs=1e-6)
    assert (distance < 1.2).sum() == n_contacts
    np.testing.assert_allclose(sites.mean(0), 0, atol=1e-12)


def test_icosahedra_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="n_shells is 3; supported are 1"):
        icosahedron(3)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no builder for 'gmm40'; supported are alanine-dipeptide"):
        build_system("gmm40", tmp_path / "x")


def test_a_mirror_image_is_refused(monkeypatch):
    pytest.importorskip("openmmtools")
    monkeypatch.setattr(build_systems, "is_l_alanine", lambda topology, positions: False)
    with pytest.raises(ValueError, match="has D-alanine"):
        BUILDERS["alanine-dipeptide-vacuum"]()


def test_the_command_line_writes_below_the_output_folder(tmp_path, capsys):
    main(["lj13", "lj55", "--output", str(tmp_path)])
    assert capsys.readouterr().out.split() == [str(tmp_path / "lj13"), str(tmp_path / "lj55")]
    assert load_system(tmp_path / "lj55").system.getNumParticles() == 55
    with pytest.raises(FileExistsError, match="overwrite"):
        main(["lj13", "--output", str(tmp_path)])
    main(["lj13", "--output", str(tmp_path), "--overwrite"])
    with pytest.raises(SystemExit):
        main(["lj14"])
    assert "invalid choice: 'lj14'" in capsys.readouterr().err


def test_shipped_molecules_save_and_load_again(tmp_path):
    system = load_system("alanine-dipeptide")
    copy = load_system(
        save_system(tmp_path / "copy", system.system, system.topology, system.positions, 350 * unit.kelvin)
    )
    assert _xml(copy.system) == _xml(system.system)
    assert copy.mdtraj_topology == system.mdtraj_topology
    assert (copy.positions.value_in_unit(unit.nanometer) == system.positions.value_in_unit(unit.nanometer)).all()
