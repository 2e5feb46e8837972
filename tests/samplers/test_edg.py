"""EDG: the bound, both forms of its loss, presets, resuming; z-scores of 4 allowed."""

import csv
import math

import pytest
import torch

from openmm_diffsampler import EDG, DoubleWell, GaussianMixture, ManyWell, gmm40, load_system
from openmm_diffsampler.samplers.edg_settings import EDGSettings
from openmm_diffsampler.samplers.latent import Latent
from openmm_diffsampler.samplers.latent_diffusion import LatentDiffusion

from .small_edg import COLD, FEW, SMALL


def test_the_bound_is_tight_for_a_gaussian():
    """μ = a z, so that q(x) = N(0, a² + δ²); −E log w is its divergence from the target, with log Z = 0, known."""
    target = GaussianMixture([[0.0, 0.0]], scales=1.0)
    width = math.hypot(1.2, math.sqrt(2 * 0.05))
    divergence = 2 * (0.5 * (width**2 - 1) - math.log(width))
    settings = SMALL | COLD | {"decoder": "gaussian", "epsilon": 0.05, "n_final_steps": 600}

    class Frozen(EDG):
        def _loss(self, run):
            loss, metrics = super()._loss(run)
            return 0 * loss, metrics

    sampler = Frozen(target, scale=1.2, **settings).fit(1)  # the decoder stays, the encoder learns
    wt = sampler.sample(1500, "path", seed=3, n_levels=60, n_draws=8)
    gap = -float(wt.log_weights.mean())
    error = float(wt.log_weights.std()) / 1500**0.5
    assert gap > divergence - 4 * error  # a bound
    assert gap < divergence + 0.03 + 4 * error  # and close


@pytest.mark.parametrize("form", ["denoising", "implicit"])
def test_the_bound_in_the_metrics_is_the_mean_log_weight(form, tmp_path):
    target = GaussianMixture([[0.3, 0.0]], scales=0.5)
    settings = SMALL | COLD | {"learning_rate": 3e-3, "beta_start": 1.0, "form": form, "n_final_steps": 200}
    sampler = EDG(target, **settings).fit(300, metrics=tmp_path, metrics_every=100)
    with open(tmp_path / "metrics.csv", newline="") as file:
        logged = float(list(csv.DictReader(file))[-1]["bound"])
    exact = float(sampler.sample(1000, "path", seed=1, n_levels=50, n_draws=0).log_weights.mean())
    assert abs(logged - exact) < 0.2 and exact > -0.5  # the encoder is fitted further after the last row


@pytest.mark.parametrize("make", [lambda: GaussianMixture([[0.0, 1.0]], scales=1.0), DoubleWell], ids=["plane", "dw4"])
def test_both_forms_of_the_loss_have_one_mean(make):
    """Denoising − D and implicit integrands at each level, of networks that are not zero."""
    target, generator = make(), torch.Generator().manual_seed(0)
    settings = EDGSettings(**{k: v for k, v in FEW.items() if k in ("width", "score_width", "n_layers")}, epsilon=0.1)
    torch.manual_seed(0)
    model, latent = LatentDiffusion(target, settings), Latent(target)
    for network in (model.posterior.guess, model.posterior.rest):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    n, d = 4000, target.n_degrees_of_freedom
    for level in (0.35, 0.6, 0.9):
        z, xi, noise, probes = (latent.normal(n, generator) for _ in range(4))
        x = z + 0.4 * xi
        t = torch.full((n,), level, dtype=torch.float64)
        denoising = model.integrand(target, z, x, noise, t).detach().double() - d
        implicit = model.integrand(target, z, x, noise, t, probes).detach().double()
        error = (denoising - implicit).std() / n**0.5
        assert abs(float((denoising - implicit).mean())) < 4 * float(error)


@pytest.mark.usefixtures("few_measured")
def test_evaluations_are_counted():
    target = DoubleWell()
    sampler = EDG(target, **FEW | {"n_leapfrog": 3, "n_descent": 2, "n_cooling": 4}).fit(2)
    counted = target.n_evaluations
    assert sampler.record["n_evaluations"] == counted
    sampler.sample(10, None, n_cooling=0)
    decoded = 10 * (2 + 3 + 2 * 8 + 1 + 1)  # forces of the decoder, its Hessian, the Newton step, and the energy
    assert target.n_evaluations - counted == decoded
    sampler.sample(10, None)
    assert target.n_evaluations - counted == 2 * decoded + 10 * 4 * 5  # leapfrog steps of each level


@pytest.mark.usefixtures("few_measured")
@pytest.mark.parametrize("form", ["denoising", "implicit"])
def test_a_run_goes_on_where_it_stopped(form, tmp_path):
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5)
    settings = FEW | {"form": form}
    whole = EDG(target, **settings)
    whole.fit(8, checkpoint=tmp_path / "whole", checkpoint_every=4)

    class StoppedError(Exception):
        pass

    class Stopping(EDG):
        def _after_step(self, run):
            if run.step == 7:
                raise StoppedError
            return super()._after_step(run)

    with pytest.raises(StoppedError):
        Stopping(target, **settings).fit(8, checkpoint=tmp_path / "part", checkpoint_every=4)
    resumed = EDG(target, **settings).fit(8, checkpoint=tmp_path / "part", checkpoint_every=4)
    for ours, theirs in zip(whole.average.parameters(), resumed.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("few_measured")
@pytest.mark.parametrize(
    "make",
    [gmm40, ManyWell, DoubleWell, lambda: load_system("lj13").target(), lambda: GaussianMixture([[0.0]], scales=1.0)],
    ids=["gmm40", "mw32", "dw4", "lj13", "any other"],
)
@pytest.mark.parametrize("preset", ["paper", "default"])
def test_every_preset_trains_and_samples(make, preset):
    target = make()
    sampler = EDG(target, preset, **FEW, n_cooling=2).fit(3)
    assert sampler.record["n_steps"] == 3
    raw, weighted = sampler.sample(4, None), sampler.sample(4, "path", n_levels=5, n_draws=1)
    assert raw.x.shape == weighted.x.shape == (4, *target.event_shape)


@pytest.mark.usefixtures("few_measured")
def test_a_molecule_in_internal_coordinates():
    target = load_system("alanine-dipeptide").target()
    cooled = {"beta_end": 0.5, "n_cooling": 2}
    sampler = EDG(target, **FEW, **cooled, n_exploration=30_000, n_chains=16, n_warmup=5).fit(3)
    for weights in ("path", None):
        wt = sampler.sample(5, weights, **({"n_levels": 4} if weights else {}))
        assert wt.x.shape == (5, 22, 3) and wt.topology.n_atoms == 22


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"n_leap": 3}, TypeError, "n_leap"),
        ({"decoder": "best"}, ValueError, "decoder is 'best'"),
        ({"form": "exact"}, ValueError, "form is 'exact'"),
        ({"s_max": 0.001}, ValueError, "must rise"),
        ({"beta_start": 2.0}, ValueError, "at most 1"),
        ({"beta_end": 0.5, "n_cooling": 0}, ValueError, "samples need cooling"),
        ({"beta_start": 0.9, "beta_end": 0.5}, ValueError, "must not heat"),
        ({"n_cooling": -1}, ValueError, "n_cooling is -1"),
        ({"epsilon": 0.0}, ValueError, "epsilon is 0"),
        ({"n_path_levels": 1}, ValueError, "n_path_levels is 1"),
    ],
)
def test_bad_settings(changes, error, match):
    with pytest.raises(error, match=match):
        EDG(DoubleWell(), **changes)


def test_refused_before_work():
    with pytest.raises(RuntimeError, match="has not been trained"):
        EDG(DoubleWell()).sample(3)
    sampler = EDG(GaussianMixture([[0.0]], scales=1.0), **FEW, **COLD).fit(2)
    with pytest.raises(TypeError, match="unknown options"):
        sampler.sample(3, "path", n_refine=3)
    with pytest.raises(ValueError, match="n_levels is 1"):
        sampler.sample(3, "path", n_levels=1)
    with pytest.raises(ValueError, match="n_cooling is 3; this sampler was trained without"):
        sampler.sample(3, None, n_cooling=3)
    with pytest.raises(TypeError, match=r"n_draws is 1\.5"):
        sampler.sample(3, "path", n_draws=1.5)


def test_the_weights_that_come_with_four_particles():
    """log Z of iDEM, 29.675 ± .007."""
    wt = EDG.pretrained("dw4").sample(250, seed=1, n_draws=4)
    assert wt.effective_sample_size > 0.2 * 250
    assert abs(wt.log_Z - 29.675) < 4 * wt.log_Z_standard_error < 1


@pytest.mark.slow
def test_the_weights_that_come_with_thirteen_particles():
    """log Z of iDEM, 59.78."""
    wt = EDG.pretrained("lj13").sample(200, seed=1, n_draws=1)
    assert wt.effective_sample_size > 0.1 * 200
    assert abs(wt.log_Z - 59.78) < 4 * wt.log_Z_standard_error < 1


@pytest.mark.slow
def test_the_weights_that_come_with_forty_modes():
    sampler = EDG.pretrained("gmm40")
    wt = sampler.sample(1000, seed=1, n_draws=4)
    assert len(set(sampler.target.mode(wt.x).tolist())) == 40
    assert wt.effective_sample_size > 0.2 * 1000 and abs(wt.log_Z) < 4 * wt.log_Z_standard_error < 0.4
