"""Settings of every method: types, ranges, numpy, sizes of networks; and presets by what a target is."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from openmm import app

from openmm_diffsampler import (
    EDG,
    IDEM,
    DoubleWell,
    GaussianMixture,
    LennardJones,
    ManyWell,
    OpenMMTarget,
    gmm40,
    load_system,
)
from openmm_diffsampler.samplers.boltzmann_settings import BoltzmannSettings, boltzmann_settings
from openmm_diffsampler.samplers.dikl_settings import DiKLSettings, dikl_settings
from openmm_diffsampler.samplers.edg_settings import EDGSettings, edg_settings
from openmm_diffsampler.samplers.idem_settings import IDEMSettings, idem_settings
from openmm_diffsampler.samplers.setting_bounds import BOUNDS
from openmm_diffsampler.targets import mog2, mog2i, mog9, ring, rings

CLASSES = (BoltzmannSettings, IDEMSettings, DiKLSettings, EDGSettings)
FIELDS = [(kind, field) for kind in CLASSES for field in dataclasses.fields(kind)]
IDS = [f"{kind.__name__}.{field.name}" for kind, field in FIELDS]
NEVER = ["fast", "no", "", [1], {"a": 1}, object(), b"x"]
NEVER += [math.nan, math.inf, -math.inf, -1, -0.5, 10**400, 10**5000, 1e300]


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=IDS)
def test_what_is_not_of_the_type_or_out_of_range_is_refused_by_name(kind, field):
    refused = [*NEVER] + ([] if "None" in str(field.type) else [None])
    refused += [True, False, np.bool_(True)] if field.type is not bool else [0, 1, 1.0, np.int64(1)]
    refused += [1.5, np.float64(2.0)] if field.type is int else []
    for value in refused:
        with pytest.raises((TypeError, ValueError), match=rf"^{field.name} is ") as caught:
            kind(**{field.name: value})
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=IDS)
def test_numbers_of_numpy_become_plain(kind, field):
    if field.type is str or field.default is None:
        assert getattr(kind(**{field.name: field.default}), field.name) == field.default
        return
    given = {int: np.int64, float: np.float64, bool: np.bool_}[field.type](field.default)
    found = getattr(kind(**{field.name: given}), field.name)
    assert type(found) is field.type and found == field.default


@pytest.mark.parametrize(("kind", "field"), FIELDS, ids=IDS)
def test_every_number_has_a_largest(kind, field):
    if field.type in (bool, str):
        assert field.name not in BOUNDS
        return
    assert BOUNDS[field.name][1] <= 1e13
    with pytest.raises(ValueError, match=rf"^{field.name} is .* at most"):
        kind(**{field.name: 10**14})
    if field.type is int and BOUNDS[field.name][0] > 0 and field.name not in ("n_final_steps", "n_pool", "n_levels"):
        with pytest.raises(ValueError, match=rf"^{field.name} is 0; it must be at least {BOUNDS[field.name][0]}$"):
            kind(**{field.name: 0})


def test_whole_numbers_pass_for_real_ones():
    settings = IDEMSettings(learning_rate=1, score_clip=np.int32(20))
    assert type(settings.learning_rate) is float and settings.score_clip == 20.0
    assert IDEMSettings(score_clip=None).score_clip is None


@pytest.mark.parametrize(
    ("kind", "changes", "match"),
    [
        (IDEMSettings, {"n_levels": 1}, "n_levels is 1; it must be at least 2"),
        (IDEMSettings, {"n_refresh_levels": 1}, "n_refresh_levels is 1"),
        (DiKLSettings, {"n_path_levels": 1}, "n_path_levels is 1"),
        (EDGSettings, {"n_path_levels": 1}, "n_path_levels is 1"),
        (DiKLSettings, {"beta_max": 1.0, "n_levels": 30}, "beta_max is 1.0"),
        (IDEMSettings, {"width": 16_000, "n_layers": 200}, "about 51,200,000,000 parameters.*width 16,000"),
        (EDGSettings, {"width": 2000, "n_leapfrog": 1000}, "networks would have"),
        (DiKLSettings, {"encoder_width": 4000, "n_guesses": 200}, "networks would have"),
        (BoltzmannSettings, {"width": 16_384, "n_layers": 4}, "networks would have"),
    ],
)
def test_settings_that_fail_later_or_do_not_fit_into_memory_are_refused_at_once(kind, changes, match):
    with pytest.raises(ValueError, match=match):
        kind(**changes)


BY_METHOD = {"boltzmann": boltzmann_settings, "idem": idem_settings, "dikl": dikl_settings, "edg": edg_settings}


@pytest.mark.parametrize("settings", BY_METHOD.values(), ids=BY_METHOD)
def test_a_name_chooses_no_preset(settings):
    other = settings(GaussianMixture([[0.0, 0.0]], scales=1.0))
    for name in ("dw4", "gmm40", "lj13", "mw32", "molecule", "ring", "ising"):
        assert settings(GaussianMixture([[0.0, 0.0]], scales=1.0, name=name)) == other
    assert settings(DoubleWell(name="mine")) == settings(DoubleWell())
    assert settings(ManyWell(4, name="mw32")) == other
    assert settings(LennardJones(13, name="any")) == settings(load_system("lj13").target())


def test_what_is_built_in_has_its_settings():
    assert boltzmann_settings(gmm40()).n_components == 48
    assert idem_settings(load_system("dw4").target()).length == 2.0
    assert idem_settings(load_system("lj13").target(), "paper").noise_scale == 0.9
    assert idem_settings(LennardJones(55)).batch_size == 32
    assert dikl_settings(ManyWell()).posterior == "kept"
    lengths = [edg_settings(make()).n_cooling for make in (mog2, mog2i, mog9, ring, rings)]
    assert lengths == [500, 5000, 500, 0, 500]


def test_a_folder_of_ones_own_has_the_settings_of_no_built_in_system(tmp_path, monkeypatch):
    text = "name: lj13\ndensity: mw32\nparameters: {n_pairs: 2}\n"
    (tmp_path / "lj13").mkdir()
    (tmp_path / "lj13" / "system.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="has no checksum"):
        target = load_system("./lj13").target()
    assert idem_settings(target) == IDEMSettings()


def test_particles_without_bonds_are_no_molecule_whatever_they_are_called():
    lj = load_system("lj13")
    target = OpenMMTarget(lj.system, lj.temperature, topology=lj.topology, positions=lj.positions)
    assert target.name == "molecule"
    assert IDEM(target, width=8, n_layers=1).settings.initial == "annealed"
    assert EDG(target, width=8, score_width=8, n_layers=1).settings.beta_end == 0.1


def test_a_molecule_is_one_whatever_it_is_called():
    molecule = load_system("alanine-dipeptide")
    for name in ("molecule", "lj13"):
        target = OpenMMTarget(
            molecule.system, molecule.temperature, molecule.topology, positions=molecule.positions, name=name
        )
        sampler = IDEM(target, width=8, n_layers=1)
        assert sampler.settings.initial == "explored" and sampler.settings.buffer_size == 65_536
    assert isinstance(molecule.topology, app.Topology) and torch.is_tensor(target.positions)
