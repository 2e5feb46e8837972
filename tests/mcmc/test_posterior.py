"""Draws of denoising posteriors: exact means on Gaussian mixtures, whatever they start from; z-scores of 4 allowed."""

import pytest
import torch

from openmm_diffsampler import DoubleWell, GaussianMixture
from openmm_diffsampler.mcmc.posterior import PosteriorSampler
from openmm_diffsampler.targets.base import Target

S_MIN, S_MAX = 0.05, 5.0
TARGET = GaussianMixture([[-2.0, 0.0], [2.0, 1.0]], scales=[0.4, 0.6], weights=[1, 3], name="two modes")
STARTS = {
    "importance": {"n_particles": 500},
    "importance, then MALA": {"n_particles": 500, "n_trajectories": 4, "n_leapfrog": 1, "start": "importance"},
    "annealed": {"n_particles": 50, "n_anneal": 8},
    "annealed, then HMC": {"n_particles": 20, "n_anneal": 8, "n_trajectories": 4, "start": "annealed"},
}


def noised(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_0, t = TARGET.sample(n, generator), torch.rand(n, generator=generator, dtype=torch.float64)
    s = S_MIN * (S_MAX / S_MIN) ** t
    return x_0, x_0 + s[:, None] * TARGET.normal(n, generator), t, s, generator


def z_score(sampler, rounds, **options):
    """Largest z-score of s·(estimate − exact), over bins of t, in each coordinate and along the exact score."""
    errors, times = [], []
    for seed in range(rounds):
        x_0, x_t, t, s, generator = noised(2000, seed)
        given = {"x_0": x_0} if options.get("given") else {}
        estimate = sampler(x_t, s, generator, **given).score
        exact = TARGET.noised_score(x_t, torch.ones_like(s)[:, None], s[:, None])
        error = s[:, None] * (estimate - exact)
        errors.append(torch.cat([error, s[:, None] * (error * exact).sum(1, keepdim=True)], 1))
        times.append(t)
    errors, bins = torch.cat(errors), (torch.cat(times) * 4).long()
    return max(
        float((e.mean(0) / (e.std(0) / len(e) ** 0.5)).abs().max()) for e in (errors[bins == b] for b in range(4))
    )


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("mixing", ["optimal", "unit"])
def test_estimates_are_scores(name, mixing):
    options = {"start": name.split(",")[0]} | STARTS[name]
    sampler = PosteriorSampler(TARGET, S_MIN, S_MAX, step_size=0.3, mixing=mixing, **options)
    assert z_score(sampler, 2) < 4


@pytest.mark.parametrize(
    "options",
    [
        {"n_particles": 3},
        {"n_particles": 3, "n_trajectories": 2},
        {"n_trajectories": 2},
        {"n_coordinate_steps": 3},
        {"n_particles": 3, "n_coordinate_steps": 2, "n_trajectories": 2},
    ],
)
def test_what_an_equilibrium_sample_gives_has_no_bias_for_any_number_of_draws(options):
    sampler = PosteriorSampler(TARGET, S_MIN, S_MAX, start="given", step_size=0.3, **options)
    assert z_score(sampler, 4, given=True) < 4


def test_few_draws_that_forget_the_sample_are_biased():
    """What the test above can see."""
    assert z_score(PosteriorSampler(TARGET, S_MIN, S_MAX, start="importance", n_particles=3, mixing="unit"), 4) > 8


def test_step_sizes_follow_the_level():
    x_0, x_t, _, s, generator = noised(4000)
    sampler = PosteriorSampler(TARGET, S_MIN, S_MAX, start="given", n_trajectories=2, step_size=0.01)
    for _ in range(40):
        found = sampler(x_t, s, generator, x_0=x_0)
    rates = [v for name, v in found.metrics.items() if name.startswith("acceptance")]
    assert len(rates) == 4 and all(0.6 < rate <= 1 for rate in rates)
    assert sampler.log_steps[0] < sampler.log_steps[8] - 1
    again = PosteriorSampler(TARGET, S_MIN, S_MAX, start="given", n_trajectories=2)
    again.load_state_dict(sampler.state_dict())
    assert torch.equal(again.log_steps, sampler.log_steps)


def test_particle_sizes_are_told_by_band():
    _, x_t, _, s, generator = noised(1000)
    found = PosteriorSampler(TARGET, S_MIN, S_MAX, start="importance", n_particles=50)(x_t, s, generator)
    sizes = [v for name, v in found.metrics.items() if name.startswith("particle ESS")]
    assert len(sizes) == 4 and sizes[0] > sizes[-1] > 0 and sizes[0] <= 1


def test_particles_keep_their_centroid_and_energy():
    target, generator = DoubleWell(), torch.Generator().manual_seed(0)
    x_0 = target.project(2 * target.normal(500, generator))
    t = torch.rand(500, generator=generator, dtype=torch.float64)
    s = S_MIN * (S_MAX / S_MIN) ** t
    x_t = x_0 + s[:, None, None] * target.normal(500, generator)
    for options in ({"start": "annealed", "n_particles": 4}, {"start": "importance", "n_particles": 4}):
        found = PosteriorSampler(target, S_MIN, S_MAX, n_trajectories=4, **options)(x_t, s, generator)
        assert found.x.mean(1).abs().max() < 1e-9 and found.score.mean(1).abs().max() < 1e-6 * found.score.abs().max()


@pytest.mark.parametrize("start", ["importance", "annealed", "given"])
@pytest.mark.parametrize("steps", [{}, {"n_trajectories": 2}, {"n_coordinate_steps": 2}], ids=lambda s: "".join(s))
def test_rows_of_infinite_energy_tell_nothing_and_spoil_no_other(start, steps):
    x_0, x_t, _, s, generator = noised(50)
    x_0[0] = x_t[0] = 1e200  # whose square is infinite
    sampler = PosteriorSampler(TARGET, S_MIN, S_MAX, start=start, n_particles=4, **steps)
    for _ in range(3):
        found = sampler(x_t, s, generator, x_0=x_0)
        assert found.score[0].isnan().all() and found.score[1:].isfinite().all() and found.x.isfinite().all()
    assert sampler.mix_sums.isfinite().all() and sampler.log_steps.isfinite().all()


def test_draws_that_are_given_hardly_leave_their_mode_in_many_dimensions():
    """Why weights of modes need annealing there."""
    target, generator = GaussianMixture([[0.0] * 12], scales=0.5), torch.Generator().manual_seed(0)
    x_0, s = target.sample(500, generator), torch.full((500,), 4.0, dtype=torch.float64)
    x_t = x_0 + 4 * target.normal(500, generator)
    found = PosteriorSampler(target, 0.1, 5.0, start="given", n_particles=16)(x_t, s, generator, x_0=x_0)
    left = [value for name, value in found.metrics.items() if name.startswith("left")]
    assert 0 <= left[-1] < 0.05


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"start": "nowhere"}, "start is 'nowhere'"),
        ({"mixing": "half"}, "mixing is 'half'"),
        ({"start": "given"}, "tells nothing"),
        ({"start": "importance"}, "tells nothing"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(ValueError, match=match):
        PosteriorSampler(TARGET, S_MIN, S_MAX, **options)


class HalfLine(Target):
    """u = 3x for x > 0, with nothing below: the score is −3 wherever something is."""

    def __init__(self):
        super().__init__((1,), name="half line")

    def _evaluate(self, x):
        return torch.where(x > 0, 3 * x, torch.inf)[:, 0], torch.where(x > 0, -3.0, 0.0).to(x)


def test_rows_that_get_away_from_infinite_energy_count_from_then_on():
    target, generator, n = HalfLine(), torch.Generator().manual_seed(0), 500
    sampler = PosteriorSampler(
        target, 0.1, 1.0, start="given", n_trajectories=4, n_leapfrog=1, step_size=0.05, mixing="unit", unit=1e9
    )
    x_0 = torch.full((n, 1), -0.05, dtype=torch.float64)
    s = torch.full((n,), 0.5, dtype=torch.float64)
    found = sampler(x_0 + s[:, None] * target.normal(n, generator), s, generator, x_0=x_0).score
    told = found.isfinite()
    assert 0.2 < float(told.double().mean()) < 1  # some never get away, and say nothing
    torch.testing.assert_close(found[told], torch.full_like(found[told], -3.0))
