"""What a sampler was trained on is saved with it, whatever it is; where it cannot be, training says so first."""

import dataclasses
import shutil
import warnings

import numpy as np
import pytest
import torch
from openmm import CustomExternalForce, HarmonicBondForce, System, app, unit

from openmm_diffsampler import (
    EDG,
    IDEM,
    BoltzmannGenerator,
    DoubleWell,
    GaussianMixture,
    ManyWell,
    OpenMMTarget,
    gmm40,
    load_system,
)
from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler.samplers import UnsavedSystemWarning, load_sampler

FEW = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 4, "n_draws": 4}
FEW |= {"width": 8, "n_layers": 1, "n_levels": 10}
TINY = {"width": 8, "score_width": 8, "n_layers": 1, "score_layers": 1}


def saved_and_loaded(sampler, folder):
    """Of a sampler, without a warning that something is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnsavedSystemWarning)
        sampler.save(folder)
    return load_sampler(folder)


def lj13(**changes):
    return dataclasses.replace(load_system("lj13"), **changes).target()


def bare(**given):
    lj = load_system("lj13")
    return OpenMMTarget(lj.system, lj.temperature, **({"name": "particles"} | given))


def stiffer():
    """Particles of the same kind and name with another energy."""
    system = load_system("lj13").system
    force = system.getForce(0)
    energy, *definitions = force.getEnergyFunction().split(";")
    force.setEnergyFunction(";".join([f"1.1*({energy})", *definitions]))
    return system


CASES = {
    "hot": lambda: lj13(temperature=200 * unit.kelvin),
    "another System": lambda: lj13(system=stiffer()),
    "no topology": lambda: bare(positions=load_system("lj13").positions),
    "nothing but a System": bare,
    "the name of a built-in one": lambda: bare(name="lj13"),
    "the default name": lambda: bare(topology=load_system("lj13").topology, name="molecule"),
}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_a_target_that_is_not_the_built_in_one_comes_back(make, tmp_path):
    target = make()
    sampler = IDEM(target, **FEW).fit(2)
    loaded = saved_and_loaded(sampler, tmp_path)
    assert (tmp_path / "system" / "system.xml").exists()
    ours, theirs = (s.sample(6, seed=1) for s in (sampler, loaded))
    assert torch.equal(ours.x, theirs.x) and torch.equal(ours.log_weights, theirs.log_weights)
    assert loaded.target.identity() == target.identity()
    for what in ("topology", "positions"):
        assert (getattr(loaded.target, what) is None) == (getattr(target, what) is None)


def test_the_built_in_one_is_not_saved(tmp_path):
    loaded = saved_and_loaded(IDEM(lj13(), **FEW), tmp_path)
    assert not (tmp_path / "system").exists() and loaded.target.preset_key == "lj13"


def test_a_folder_of_an_earlier_sampler_is_not_taken_for_that_of_this_one(tmp_path):
    IDEM(bare(name="lj13"), **FEW).save(tmp_path)
    loaded = saved_and_loaded(IDEM(lj13(), **FEW), tmp_path)
    assert (tmp_path / "system").exists() and loaded.target.topology is not None


def test_another_system_beside_a_sampler_is_refused(tmp_path):
    IDEM(bare(), **FEW).save(tmp_path / "one")
    moved = np.array(load_system("lj13").positions._value) * 1.01 * unit.nanometer
    IDEM(bare(positions=moved), **FEW).save(tmp_path / "two")  # the same System, elsewhere
    shutil.rmtree(tmp_path / "one" / "system")
    with pytest.raises(FileNotFoundError, match=r"there is no .*system; restore it, or give the target"):
        load_sampler(tmp_path / "one")
    shutil.copytree(tmp_path / "two" / "system", tmp_path / "one" / "system")
    with pytest.raises(DamagedFileError, match="is not the system that was saved with this sampler"):
        load_sampler(tmp_path / "one")
    assert load_sampler(tmp_path / "one", bare()).target.name == "particles"


def dipeptide_with(name, residue):
    """The dipeptide, and a topology of it in which all atoms are called alike."""
    molecule, topology = load_system("alanine-dipeptide-vacuum"), app.Topology()
    inside = topology.addResidue(residue, topology.addChain())
    atoms = [topology.addAtom(name, atom.element, inside) for atom in molecule.topology.atoms()]
    for a, b in molecule.topology.bonds():
        topology.addBond(atoms[a.index], atoms[b.index])
    return molecule, topology


@pytest.mark.parametrize(("name", "residue"), [("C", "ALA"), ("CARBON", "VERYLONG")])
def test_any_names_of_atoms_come_back(name, residue, tmp_path):
    molecule, topology = dipeptide_with(name, residue)
    given = {"positions": molecule.positions, "name": "alanine-dipeptide-vacuum"}
    target = OpenMMTarget(molecule.system, molecule.temperature, topology, **given)
    loaded = saved_and_loaded(BoltzmannGenerator(target, width=8), tmp_path)
    assert {atom.name for atom in loaded.target.topology.atoms} == {name}
    assert loaded.target.topology.n_bonds == molecule.topology.getNumBonds()


def chain_of_glycine(n):
    """Carbons in a closed ring, of standard residues, which PDB files close for no one."""
    topology, system, bonds = app.Topology(), System(), HarmonicBondForce()
    chain, atoms = topology.addChain(), []
    for _ in range(n):
        residue = topology.addResidue("GLY", chain)
        for atom, element in (("N", app.element.nitrogen), ("CA", app.element.carbon), ("C", app.element.carbon)):
            atoms.append(topology.addAtom(atom, element, residue))
            system.addParticle(element.mass)
    for i in range(len(atoms)):
        topology.addBond(atoms[i], atoms[(i + 1) % len(atoms)])
        bonds.addBond(i, (i + 1) % len(atoms), 0.15, 1e4)
    system.addForce(bonds)
    angle = 2 * np.pi * np.arange(len(atoms)) / len(atoms)
    radius = 0.15 / (2 * np.sin(np.pi / len(atoms)))
    zigzag = 0.02 * (-1) ** np.arange(len(atoms))
    positions = np.stack([radius * np.cos(angle), radius * np.sin(angle), zigzag], 1) * unit.nanometer
    return system, topology, positions


def test_a_head_to_tail_cyclic_peptide_comes_back(tmp_path):
    system, topology, positions = chain_of_glycine(4)
    target = OpenMMTarget(system, 300 * unit.kelvin, topology, positions=positions, name="ring")
    sampler = BoltzmannGenerator(target, width=8)
    loaded = saved_and_loaded(sampler, tmp_path)
    assert loaded.target.topology.n_bonds == 12
    assert loaded.internal.coordinates.rotatable_torsions == sampler.internal.coordinates.rotatable_torsions


def test_a_molecule_far_from_the_origin_is_saved_at_it(tmp_path):
    lj = load_system("lj13")
    far = (np.array(lj.positions._value) + 2000) * unit.nanometer
    loaded = saved_and_loaded(IDEM(bare(positions=far), **FEW), tmp_path)
    assert loaded.target.positions.abs().max() < 5


def in_a_trap_far_away():
    """A particle that a force of the outside holds where no PDB file reaches."""
    system, trap = System(), CustomExternalForce("1000*((x-2000.0123)^2+y^2+z^2)")
    system.addParticle(12.0), trap.addParticle(0), system.addForce(trap)
    return OpenMMTarget(system, 300 * unit.kelvin, positions=np.array([[2000.0123, 0.0, 0.0]]) * unit.nanometer)


def test_what_cannot_be_saved_is_said_before_training_and_loads_with_its_target(tmp_path):
    target = in_a_trap_far_away()
    sampler = IDEM(target, "default", initial="model", estimator="monte-carlo", **FEW)
    with pytest.warns(UnsavedSystemWarning, match=r"molecule cannot be saved with its sampler \(positions change by"):
        sampler.fit(1)
    with pytest.warns(UnsavedSystemWarning, match="give it when the sampler is loaded"):
        sampler.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'molecule', which is not built in, and was saved without it; give"):
        load_sampler(tmp_path)
    assert load_sampler(tmp_path, target).record["n_steps"] == 1


@pytest.mark.parametrize(
    "target", [ManyWell(2, name="mine"), ManyWell(2, name="mw32"), DoubleWell(name="other")], ids=lambda t: t.name
)
def test_a_density_that_a_folder_can_name_comes_back(target, tmp_path):
    loaded = saved_and_loaded(EDG(target, **TINY), tmp_path)
    assert loaded.target.identity() == target.identity()


def test_a_built_in_density_is_not_saved(tmp_path):
    assert saved_and_loaded(EDG(gmm40(), **TINY), tmp_path).target.preset_key == "gmm40"
    assert not (tmp_path / "system").exists()


def test_any_other_density_has_to_be_given(tmp_path):
    target = GaussianMixture([[0.0, 0.0]], scales=1.0, name="hill")
    EDG(target, **TINY).save(tmp_path)
    with pytest.raises(FileNotFoundError, match="'hill', which is not built in"):
        load_sampler(tmp_path)
    assert load_sampler(tmp_path, target).target is target
    EDG(GaussianMixture([[0.0, 0.0]], scales=1.0, name="gmm40"), **TINY).save(tmp_path)
    with pytest.raises(ValueError, match=r"with another density.*give the target that it was trained on"):
        load_sampler(tmp_path)


def test_saving_again_needs_no_empty_folder_and_a_failure_leaves_the_old_one(tmp_path, monkeypatch):
    target = GaussianMixture([[0.0, 0.0]], scales=1.0)
    first, second = (EDG(target, seed=seed, **TINY) for seed in (0, 1))
    first.save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("openmm_diffsampler.samplers.sampler_files.sealed_json", full)
        with pytest.raises(OSError, match="No space left"):
            second.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    second.save(tmp_path)
    assert load_sampler(tmp_path, target).seed == 1
