"""Weights of EDG: known log Z, densities of latents; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler import EDG, GaussianMixture
from openmm_diffsampler.diffusion import NoiseSchedule, flow_log_density
from openmm_diffsampler.diffusion.kernels import log_normal
from openmm_diffsampler.samplers import load_sampler
from openmm_diffsampler.samplers.latent_weights import PathEncoder
from openmm_diffsampler.targets.base import Target

from .small_edg import COLD, FEW, SMALL


@pytest.fixture(scope="module")
def trained():
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3], name="two modes")
    heated = {"beta_start": 0.1, "anneal_share": 0.5}
    return EDG(target, **SMALL, **COLD, **heated, scale=2.0, learning_rate=3e-3, n_final_steps=800).fit(600)


def test_both_modes_of_unequal_weight(trained):
    x = trained.sample(2000, None, seed=1).x
    assert abs(float((x > 0).double().mean()) - 0.75) < 0.1
    assert float(((x.abs() - 2).abs() < 1).double().mean()) > 0.8


@pytest.mark.parametrize(
    "options",
    [{}, {"n_levels": 12}, {"n_draws": 3}],
    ids=["default", "few levels", "few draws"],
)
def test_path_weights_are_consistent(trained, options):
    wt = trained.sample(2000, "path", seed=1, **options)
    assert wt.kind == "importance" and wt.effective_sample_size > 0.05 * 2000
    assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert abs(share - 0.75) < 4 * error


def test_path_weights_are_consistent_for_an_encoder_that_knows_nothing():
    """Wrong weights by a decoder and an encoder that have hardly been trained would show in log Z."""
    target = GaussianMixture([[0.5]], scales=0.8)
    sampler = EDG(target, **FEW | COLD | {"epsilon": 0.2}).fit(2)
    wt = sampler.sample(20_000, "path", seed=2, n_levels=10, n_draws=1)
    assert wt.log_Z_standard_error < 0.1 and abs(wt.log_Z) < 4 * wt.log_Z_standard_error


@pytest.fixture(scope="module")
def cooled():
    """Trained at four times the temperature, with noise that the energy narrows, on modes of unequal width."""
    target = GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], scales=[0.4, 0.8], weights=[1, 3], name="two widths")
    hot = {"beta_start": 0.1, "beta_end": 0.25, "anneal_share": 0.5, "curved_noise": True, "epsilon": 0.05}
    return EDG(target, **SMALL, **hot, n_cooling=15, scale=2.0, learning_rate=3e-3, n_final_steps=400).fit(350)


@pytest.mark.parametrize(
    "options",
    [{}, {"n_cooling": 0}, {"n_cooling": 3, "n_draws": 4}, {"weights": "ode", "n_steps": 50, "n_draws": 1}],
    ids=["all", "none", "few", "flow"],
)
def test_weights_of_cooled_samples_are_consistent(cooled, options):
    wt = cooled.sample(1500, seed=1, **options)
    assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error < 0.5
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert abs(share - 0.75) < 4 * error


def test_cooled_samples_are_cold(cooled):
    exact = float(
        cooled.target.reduced_potential(cooled.target.sample(20_000, torch.Generator().manual_seed(0))).mean()
    )
    cold, hot = (float(cooled.sample(1000, None, seed=2, n_cooling=k).reduced_potential.mean()) for k in (15, 0))
    assert abs(cold - exact) < 0.5 < hot - exact


def test_a_cooled_sampler_is_loaded_as_it_was(cooled, tmp_path):
    cooled.save(tmp_path)
    again = load_sampler(tmp_path, cooled.target).sample(20, seed=3)
    assert torch.equal(again.x, cooled.sample(20, seed=3).x)


def test_draws_make_weights_more_even_and_keep_their_mean(trained):
    none, some = (trained.sample(2000, "path", seed=1, n_levels=12, n_draws=k) for k in (0, 20))
    assert some.effective_sample_size > 1.2 * none.effective_sample_size
    assert abs(some.log_Z) < 4 * some.log_Z_standard_error < 0.2


def test_draws_make_up_for_an_encoder_that_leaks(trained, monkeypatch):
    """Half of the encoder's density is moved to latents far from all: log Z without draws is ln 2 too low."""
    of_density, draw = PathEncoder.log_ratio, PathEncoder.draw

    def leaking(encoder, x, generator):
        z, log_ratio = draw(encoder, x, generator)
        wrong = torch.rand(len(x), 1, generator=generator) < 0.5
        return torch.where(wrong, z + 30.0, z), log_ratio + math.log(2)

    monkeypatch.setattr(PathEncoder, "log_ratio", lambda *given: of_density(*given) + math.log(2))
    monkeypatch.setattr(PathEncoder, "draw", leaking)
    some, none = (trained.sample(2000, "path", seed=1, n_draws=k) for k in (None, 0))
    assert abs(some.log_Z) < 4 * some.log_Z_standard_error < 0.3
    assert none.log_Z < -4 * none.log_Z_standard_error


def test_draws_of_latents_have_the_density_that_weights_take(trained):
    """E_q[p_E(z|x)/q(z) h(z)] is E[h] over draws of p_E, which say q(z)/p_E(z|x) alike, for an x between the modes."""
    n, generator = 20_000, torch.Generator().manual_seed(0)
    x, z = torch.full((n, 1), 0.3, dtype=torch.float64), trained.latent.sample(n, generator)
    for kind, slack in (("path", 0.0), ("ode", 0.02)):
        encoder, _ = trained._encoder(kind, **({"n_levels": 20} if kind == "path" else {"n_steps": 100}))
        with torch.no_grad():
            ratio = (-encoder.log_ratio(z, x, generator)).exp()
            drawn, log_ratio = encoder.draw(x, generator)
        for h in (torch.ones_like, lambda z: z, lambda z: z**2):
            left, right = ratio * h(z)[:, 0], h(drawn)[:, 0]
            error = ((left.var() + right.var()) / n) ** 0.5
            assert abs(float(left.mean() - right.mean())) < 4 * float(error) + slack, kind
        middle, width = drawn.mean(), drawn.std()  # where draws are, E over them of q/p_E is that under q
        inside, right = (((values[:, 0] - middle).abs() < width).double() for values in (drawn, z))
        left = inside * log_ratio.exp()
        error = ((left.var() + right.var()) / n) ** 0.5
        assert abs(float(left.mean() - right.mean())) < 4 * float(error) + slack, kind


def test_a_flow_takes_fewer_draws_than_a_path(trained):
    for kind, n_draws in (("path", 16), ("ode", 3)):
        usual, told, fewer = (trained.sample(20, kind, seed=1, n_draws=k).log_weights for k in (None, n_draws, 1))
        assert torch.equal(usual, told) and not torch.equal(usual, fewer)


def test_flow_weights_agree_within_the_error_of_the_solver(trained):
    coarse, fine = (trained.sample(1000, "ode", seed=1, n_steps=n, n_draws=0) for n in (25, 200))
    assert abs(fine.log_Z) < 0.05 + 4 * fine.log_Z_standard_error
    assert abs(coarse.log_Z - fine.log_Z) > abs(fine.log_Z) - 4 * fine.log_Z_standard_error


def test_the_density_along_the_flow_of_a_gaussian_is_known():
    """With the score of N(0, 1 + s²) the flow scales x: the density of x at s_min is N(0, 1 + s_min²)."""
    target = GaussianMixture([[0.0, 0.0, 0.0]], scales=1.0)
    schedule, x = NoiseSchedule(0.1, 20.0), target.normal(50, torch.Generator().manual_seed(0))

    def score(x, t):
        return -x / (1 + schedule.ratio(t)[:, None] ** 2)

    found = flow_log_density(target, score, schedule, x, 400, prior_scale=math.hypot(1, 20))
    scale = math.hypot(1, 0.1)
    torch.testing.assert_close(found, log_normal(target, x / scale, scale), rtol=0, atol=2e-3)


def test_saved_and_loaded(trained, tmp_path):
    trained.save(tmp_path)
    again = load_sampler(tmp_path, trained.target)
    for weights in ("path", "ode", None):
        theirs, ours = again.sample(20, weights, seed=3), trained.sample(20, weights, seed=3)
        assert torch.equal(theirs.x, ours.x) and torch.equal(theirs.log_weights, ours.log_weights)


class Turning(Target):
    """A circle of length 2π with density e^{κ cos(2θ)}, and a number of unit width whose mean turns with it."""

    def __init__(self, kappa=1.5):
        super().__init__((2,), name="turning")
        self.kappa = kappa
        self.periods = torch.tensor([2 * math.pi, math.inf], dtype=self.dtype)
        self.log_Z = 1.5 * math.log(2 * math.pi) + math.log(float(torch.special.i0(torch.tensor(kappa).double())))

    def _evaluate(self, x):
        away = x[:, 1] - x[:, 0].sin()
        u = -self.kappa * (2 * x[:, 0]).cos() + 0.5 * away**2
        slope = 2 * self.kappa * (2 * x[:, 0]).sin() - away * x[:, 0].cos()
        return u, -torch.stack((slope, away), 1)


@pytest.mark.parametrize("weights", ["path", "ode"])
def test_log_z_of_a_density_on_a_circle(weights, turning):
    wt = turning.sample(1000, weights, seed=1, n_draws=2)
    error = wt.log_Z - turning.target.log_Z
    assert abs(error) < 4 * wt.log_Z_standard_error + (0.05 if weights == "ode" else 0.0)
    assert wt.log_Z_standard_error < 0.1 and wt.effective_sample_size > 0.1 * 1000
    share, spread = wt.expectation(lambda x: (2 * x[:, 0]).cos())
    bessel = torch.special.i1(torch.tensor(1.5)) / torch.special.i0(torch.tensor(1.5))
    assert abs(share - float(bessel)) < 4 * spread + (0.02 if weights == "ode" else 0.0)
    assert float(wt.x[:, 0].abs().max()) <= math.pi


@pytest.fixture(scope="module")
def turning():
    return EDG(Turning(), **SMALL, **COLD, beta_start=0.2, learning_rate=3e-3, n_final_steps=300).fit(250)
