"""iDEM: what every sampler must do, its presets, its weights; z-scores of 4 allowed."""

import json

import pytest
import torch

from openmm_diffsampler import (
    IDEM,
    DoubleWell,
    GaussianMixture,
    LennardJones,
    OpenMMTarget,
    WeightedTrajectory,
    gmm40,
    load_system,
)
from openmm_diffsampler._common.sealed_files import sealed_json
from openmm_diffsampler.samplers import load_pretrained, load_sampler
from openmm_diffsampler.samplers.idem_settings import idem_settings
from openmm_diffsampler.samplers.training import Training

FEW = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 4, "n_draws": 4}


@pytest.fixture(scope="module")
def trained():
    target = GaussianMixture([[-2.0, 0.0], [2.0, 1.0]], scales=[0.4, 0.6], weights=[1, 3], name="two modes")
    settings = {"buffer_size": 1024, "batch_size": 128, "n_draws": 8, "n_refresh": 64, "n_refresh_levels": 20}
    return IDEM(target, width=48, s_min=0.05, s_max=8.0, **settings).fit(400)


@pytest.mark.parametrize("weights", ["path", "ode"])
def test_weights_are_consistent(trained, weights):
    wt = trained.sample(4000, weights, seed=1)
    assert wt.kind == "importance" and wt.effective_sample_size > 0.4 * 4000
    assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert abs(share - 0.75) < 4 * error
    if weights == "ode":
        torch.testing.assert_close(wt.log_q, -wt.reduced_potential - wt.log_weights)


def test_samples_without_weights(trained):
    wt = trained.sample(1000, None, seed=1)
    assert not wt.log_weights.any() and len(wt) == 1000
    assert torch.equal(wt.x, trained.sample(1000, None, seed=1).x)
    assert not torch.equal(wt.x, trained.sample(1000, None, seed=2).x)


def test_saved_and_loaded(trained, tmp_path):
    trained.save(tmp_path)
    again = load_sampler(tmp_path, trained.target)
    assert torch.equal(again.sample(50, seed=3).x, trained.sample(50, seed=3).x)
    assert torch.equal(again.sample(50, seed=3).log_weights, trained.sample(50, seed=3).log_weights)
    assert again.record == trained.record and again.record["n_evaluations"] > 400 * 128
    with pytest.raises(ValueError, match="another density"):
        IDEM.load(tmp_path, DoubleWell())
    text = json.loads((tmp_path / "sampler.json").read_text())
    del text["sha256"]
    (tmp_path / "sampler.json").write_text(sealed_json(text | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        IDEM.load(tmp_path, trained.target)
    (tmp_path / "sampler.json").write_text(sealed_json(text | {"method": "other"}))
    with pytest.raises(ValueError, match="method 'other'"):
        IDEM.load(tmp_path, trained.target)
    (tmp_path / "sampler.json").write_text("{")
    with pytest.raises(ValueError, match="is damaged"):
        IDEM.load(tmp_path, trained.target)
    with pytest.raises(FileNotFoundError, match="save"):
        IDEM.load(tmp_path / "nothing", trained.target)


@pytest.mark.parametrize(
    "make", [gmm40, DoubleWell, lambda: load_system("lj13").target()], ids=["gmm40", "dw4", "lj13"]
)
@pytest.mark.parametrize("preset", ["paper", "default"])
def test_every_preset_trains_samples_and_exports(make, preset, tmp_path):
    target = make()
    sampler = IDEM(target, preset, **(FEW | {"width": 8, "n_levels": 20})).fit(9)
    assert sampler.record["n_steps"] == 9 and sampler.record["n_evaluations"] == target.n_evaluations
    raw, weighted = sampler.sample(4, None), sampler.sample(4, "path")
    assert raw.x.shape == (4, *target.event_shape) and weighted.log_weights.isfinite().any()
    if target.topology is not None:
        weighted.save(tmp_path / "frames.dcd")
        assert WeightedTrajectory.load(tmp_path / "frames.dcd").trajectory.n_atoms == target.event_shape[0]


@pytest.mark.slow
def test_lj55_trains_samples_and_exports(tmp_path):
    target = load_system("lj55").target()
    few = {"buffer_size": 16, "batch_size": 4, "n_refresh": 4, "n_refresh_levels": 5, "refresh_every": 2, "n_draws": 4}
    sampler = IDEM(target, **few, width=8, n_layers=2, n_trajectories=1).fit(3)
    sampler.sample(3, n_levels=5).save(tmp_path / "lj55.dcd")
    assert WeightedTrajectory.load(tmp_path / "lj55.dcd").trajectory.n_atoms == 55


def test_published_noise_scales_apply_to_unweighted_samples_alone():
    """LJ-55's reverse noise of one half and last steps without noise have no density; weights use scale one."""
    published = idem_settings(LennardJones(55), "paper")
    assert published.noise_scale == 0.5 and published.n_noiseless == 10
    settings = {name: getattr(published, name) for name in ("s_min", "s_max", "noise_scale", "n_noiseless")}
    few = FEW | {"width": 8, "n_layers": 1, "n_levels": 30}
    sampler = IDEM(LennardJones(5), "paper", **(few | settings)).fit(2)
    raw, weighted = sampler.sample(500, None, seed=1), sampler.sample(500, "path", seed=1)
    assert weighted.log_weights.isfinite().any() and not weighted.log_weights.isnan().any()
    assert raw.x.std() < 0.95 * weighted.x.std()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"n_drawz": 3}, TypeError, "n_drawz"),
        ({"n_draws": 0}, ValueError, "n_draws is 0"),
        ({"n_draws": 1.5}, TypeError, "integer"),
        ({"learning_rate": -1.0}, ValueError, "positive"),
        ({"mixing": "best"}, ValueError, "mixing is 'best'"),
        ({"initial": "model"}, ValueError, "needs initial 'annealed' or 'explored'"),
        ({"initial": "explored"}, ValueError, "molecules are 'explored'"),
        ({"s_min": 50.0}, ValueError, "rising"),
    ],
)
def test_bad_settings(changes, error, match):
    with pytest.raises(error, match=match):
        IDEM(DoubleWell(), **changes)


def test_refusals():
    with pytest.raises(ValueError, match="preset is 'best'"):
        idem_settings(DoubleWell(), "best")
    molecule = load_system("alanine-dipeptide")
    with pytest.raises(TypeError, match="no positions; iDEM takes"):
        IDEM(OpenMMTarget(molecule.system, molecule.temperature, molecule.topology))
    sampler = IDEM(DoubleWell())
    with pytest.raises(RuntimeError, match="has not been trained"):
        sampler.sample(3)
    with pytest.raises(ValueError, match="weights is 'paths'"):
        sampler.sample(3, "paths")
    with pytest.raises(ValueError, match="n is 0"):
        sampler.sample(0)
    with pytest.raises(FileNotFoundError, match="no weights"):
        IDEM.pretrained("mw32")
    with pytest.raises(FileNotFoundError, match="no built-in system"):
        load_pretrained("lj14")


def test_samples_of_a_bad_network_leave_the_buffer_in_equilibrium():
    """A network that favours one mode ten to one; after 40 outer loops the mode weights are right within 4 errors."""
    target = GaussianMixture([[-3.0], [3.0]], scales=0.5, weights=[1, 3])
    settings = {"buffer_size": 2000, "n_refresh": 1000, "n_refresh_levels": 30, "refresh_every": 1}
    sampler = IDEM(target, **settings, s_min=0.05, s_max=6.0, width=32)
    run = Training(sampler, 1, precision="32-true")
    sampler._prepare(run)
    wrong = GaussianMixture([[-3.0], [3.0]], scales=0.6, weights=[2.5, 1])
    sampler._score = lambda model: lambda x, t: wrong.noised_score(x, 1.0, sampler.schedule.sigma(t))
    sampler._measure_levels = lambda run, n: None
    shares, swaps = [], []
    for run.step in range(1, 41):
        sampler.buffer.x = target.sample(2000, run.generator)
        swaps.append(sampler._after_step(run)["swaps"])
        shares.append(float((sampler.buffer.x > 0).double().mean()))
    share = torch.tensor(shares, dtype=torch.float64)
    assert abs(share.mean() - 0.75) < 4 * share.std() / 40**0.5
    assert 0.2 < sum(swaps) / 40 < 0.9


def test_single_precision_targets_and_other_densities(tmp_path):
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5, dtype=torch.float32)
    sampler = IDEM(target, **(FEW | {"width": 8})).fit(6)
    assert sampler.sample(5).x.dtype == torch.float32
    sampler.save(tmp_path)
    with pytest.raises(ValueError, match="another density"):
        IDEM.load(tmp_path, GaussianMixture([[-9.0], [5.0]], scales=0.1))
    with pytest.raises(ValueError, match="trained for 6 steps"):
        sampler.fit(10)
    with pytest.raises(TypeError, match=r"unknown options \['n_steps'\]"):
        sampler.sample(5, "path", n_steps=3)


def test_samples_that_run_off_have_no_weight(trained, monkeypatch):
    draw = trained._draw

    def with_one_bad(n, weights, generator, given):
        samples = draw(n, weights, generator, given)
        samples.x[0] = torch.nan
        return samples

    monkeypatch.setattr(trained, "_draw", with_one_bad)
    for weights in ("path", "ode"):
        wt = trained.sample(100, weights, seed=1)
        assert wt.log_weights[0] == -torch.inf and wt.log_weights[1:].isfinite().all()
    with pytest.raises(RuntimeError, match="1 of 100 samples of two modes ran off"):
        trained.sample(100, None)
