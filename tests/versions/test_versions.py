"""What has to work with every version of OpenMM in the range of ``setup.py``, and files that others wrote."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import list_systems, load_pretrained, load_system
from openmm_diffsampler.samplers import load_sampler
from tests.fuzz.inputs import fitted, write_peroxide

from .write_data import numbers, write

_DATA = Path(__file__).with_name("data")
_ROOT = Path(__file__).resolve().parents[2]
_PRETRAINED = sorted(path.relative_to(_ROOT).parts[1::2] for path in (_ROOT / "systems").glob("*/pretrained/*"))


@pytest.mark.parametrize("name", list_systems())
def test_a_built_in_system_is_loaded_and_evaluated(name):
    target = load_system(name).target()
    x = torch.zeros(1, *target.event_shape, dtype=torch.float64) if target.positions is None else target.positions[None]
    assert target.reduced_potential(x + 0.001 * torch.arange(x.numel()).reshape(x.shape)).isfinite().all()
    if hasattr(target, "system"):
        context = openmm.Context(
            target.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
        )
        context.setPositions(target.positions.numpy())
        energy = context.getState(getEnergy=True).getPotentialEnergy() / (
            unit.MOLAR_GAS_CONSTANT_R * target.temperature
        )
        assert float(target.reduced_potential(x)) == pytest.approx(energy, rel=1e-6)


def test_there_are_pretrained_samplers():
    assert ("lj13", "idem") in _PRETRAINED and len(_PRETRAINED) >= 12


@pytest.mark.parametrize(("name", "method"), _PRETRAINED)
def test_a_sampler_that_comes_with_a_system_is_loaded(name, method):
    assert load_pretrained(name, method).sample(10, seed=0).x.isfinite().all()


def test_a_sampler_is_saved_and_loaded(tmp_path):
    write_peroxide(tmp_path / "molecule")
    sampler = fitted("boltzmann", tmp_path / "molecule")
    sampler.save(tmp_path / "sampler")
    ours, theirs = (s.sample(5, seed=1) for s in (sampler, load_sampler(tmp_path / "sampler")))
    assert torch.equal(ours.x, theirs.x) and torch.equal(ours.log_weights, theirs.log_weights)


@pytest.mark.parametrize("name", sorted(path.name for path in _DATA.iterdir()))
def test_files_of_other_versions_are_read_and_runs_go_on(name, tmp_path):
    """Up to single precision, since frames are stored and networks evaluated in it."""
    shutil.copytree(_DATA / name, tmp_path / name)
    expected = json.loads((tmp_path / name / "numbers.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files of the first version have no checksums
        found = numbers(tmp_path / name)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, rel=1e-3, abs=1e-3), key


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "now")
    expected = json.loads((tmp_path / "now" / "numbers.json").read_text())
    assert numbers(tmp_path / "now") == expected
