"""DiKL: modes that plain reverse KL loses, weights of known log Z, resuming, presets; z-scores of 4 allowed."""

from operator import attrgetter

import pytest
import torch

from openmm_diffsampler import DiKL, DoubleWell, GaussianMixture, LennardJones, ManyWell, gmm40, load_system
from openmm_diffsampler.networks import Generator
from openmm_diffsampler.samplers import load_sampler
from openmm_diffsampler.samplers.dikl_settings import dikl_settings, published_ratios

from .small_dikl import FEW, SMALL


class StoppedError(Exception):
    """Ends a training where a test wants it to."""


@pytest.fixture(scope="module")
def trained():
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3], name="two modes")
    levels = {"scale": 2.0, "s_max": 8.0, "s_prior": 40.0}
    return DiKL(target, **SMALL, **levels, n_trajectories=0, n_final_steps=500).fit(350)


def test_both_modes_with_their_weights(trained):
    x = trained.sample(4000, None, seed=1, n_refine=0).x
    assert abs(float((x > 0).double().mean()) - 0.75) < 0.1
    assert float(((x.abs() - 2).abs() < 1).double().mean()) > 0.5


def test_plain_reverse_kl_settles_in_one_of_distant_modes():
    target = GaussianMixture([[-6.0], [6.0]], scales=0.5, name="distant modes")
    shares = {}
    for objective in ("diffusive", "reverse-kl"):
        settings = SMALL | {"n_final_steps": 4, "s_max": 12.0, "s_prior": 50.0, "n_particles": 32}
        sampler = DiKL(target, objective=objective, n_trajectories=0, scale=3.0, **settings).fit(300)
        shares[objective] = float((sampler.sample(2000, None, seed=1, n_refine=0).x > 0).double().mean())
    assert 0.3 < shares["diffusive"] < 0.7
    assert not 0.1 < shares["reverse-kl"] < 0.9


@pytest.mark.parametrize("weights", ["encoder", "path"])
def test_weights_are_consistent(trained, weights):
    wt = trained.sample(2000, weights, seed=1)
    assert wt.kind == "importance" and wt.effective_sample_size > 0.2 * 2000
    assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert abs(share - 0.75) < 4 * error


def test_saved_and_loaded(trained, tmp_path):
    trained.save(tmp_path)
    again = load_sampler(tmp_path, trained.target)
    for weights in ("encoder", "path", None):
        theirs, ours = again.sample(20, weights, seed=3), trained.sample(20, weights, seed=3)
        assert torch.equal(theirs.x, ours.x) and torch.equal(theirs.log_weights, ours.log_weights)


@pytest.mark.parametrize("posterior", ["generated", "kept"])
def test_a_run_goes_on_where_it_stopped(posterior, tmp_path):
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5)
    settings = FEW | {"posterior": posterior, "n_trajectories": 1, "n_leapfrog": 1}
    whole = DiKL(target, **settings)
    whole.fit(8, checkpoint=tmp_path / "whole", checkpoint_every=4)

    class Stopping(DiKL):
        def _after_step(self, run):
            if run.step == 7:
                raise StoppedError
            return super()._after_step(run)

    with pytest.raises(StoppedError):
        Stopping(target, **settings).fit(8, checkpoint=tmp_path / "part", checkpoint_every=4)
    resumed = DiKL(target, **settings).fit(8, checkpoint=tmp_path / "part", checkpoint_every=4)
    for part in ("average", "companion", "sampling.diffusion", "sampling.encoder"):
        ours, theirs = (attrgetter(part)(sampler).parameters() for sampler in (whole, resumed))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), part


def test_weights_of_an_earlier_version_are_refused(trained):
    state = {name: value for name, value in trained.sampling.diffusion.sampling_state().items() if name != "diffusion"}
    with pytest.raises(RuntimeError, match="train it again"):
        trained.sampling.diffusion.load_sampling_state(state)


@pytest.mark.usefixtures("few_measured")
@pytest.mark.parametrize(
    "make",
    [gmm40, ManyWell, DoubleWell, lambda: load_system("lj13").target(), lambda: GaussianMixture([[0.0]], scales=1.0)],
    ids=["gmm40", "mw32", "dw4", "lj13", "any other"],
)
@pytest.mark.parametrize("preset", ["paper", "default"])
def test_every_preset_trains_and_samples(make, preset):
    target, few = make(), FEW | {"n_layers": 1, "score_layers": 1, "n_particles": 3}
    few |= {"n_pool": dikl_settings(target, preset).n_pool}  # none in the published one
    few |= {"n_trajectories": 2} if dikl_settings(target, preset).n_trajectories else {}
    sampler = DiKL(target, preset, **few).fit(3)
    assert sampler.record["n_steps"] == 3 and sampler.record["n_evaluations"] == target.n_evaluations
    assert sampler.sample(4, None).x.shape == (4, *target.event_shape)
    raw, weighted = sampler.sample(4, None, n_refine=2), sampler.sample(4, "path", n_levels=5)
    assert raw.reduced_potential.isfinite().all() and weighted.x.shape == (4, *target.event_shape)


def test_particles_turn_with_their_latent():
    target, generator = LennardJones(5), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    g = Generator(target, scale=0.7, width=8, n_layers=2, n_blocks=2)
    for parameter in g.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z = target.normal(6, generator).float()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    order = torch.randperm(5, generator=generator)
    torch.testing.assert_close(g(z @ turn)[:, order], (g(z) @ turn)[:, order], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(g(z[:, order]), g(z)[:, order], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_weights_that_come_with_forty_modes():
    """Every mode has its fortieth of one-pass samples to a factor of two, which claim no weights; paths have them."""
    sampler = DiKL.pretrained("gmm40")
    wt = sampler.sample(20_000, None, seed=1, n_refine=0)
    share = torch.bincount(sampler.target.mode(wt.x), minlength=40) / 20_000
    assert float(share.min()) > 0.5 / 40 and float(share.max()) < 2 / 40
    assert "without weights" in wt.describe()
    wt = sampler.sample(2000, "path", seed=1)
    assert wt.effective_sample_size > 0.5 * 2000 and abs(wt.log_Z) < 4 * wt.log_Z_standard_error


@pytest.mark.usefixtures("few_measured")
def test_a_molecule_in_internal_coordinates():
    target = load_system("alanine-dipeptide").target()
    settings = FEW | {"n_exploration": 30_000, "n_chains": 16, "n_warmup": 5}
    sampler = DiKL(target, **settings).fit(3)
    assert sampler.weight_kinds == ("path",)
    wt = sampler.sample(5, None)
    assert wt.x.shape == (5, 22, 3) and wt.topology.n_atoms == 22
    with pytest.raises(ValueError, match="weights is 'encoder'"):
        sampler.sample(5, "encoder")


def test_training_stops_early(tmp_path):
    target = GaussianMixture([[0.0]], scales=1.0)
    sampler = DiKL(target, **FEW, patience=5, learning_rate=1e-9).fit(500, checkpoint=tmp_path)
    assert 5 < sampler.record["n_steps"] < 500 and any(tmp_path.iterdir())


def test_published_ladder():
    alpha = (1 + published_ratios(1e-6, 0.05, 30).square()).rsqrt()
    assert len(alpha) == 30 and abs(float(alpha[-1]) - 0.683) < 1e-3
    alpha = (1 + published_ratios(1e-4, 0.15, 30).square()).rsqrt()
    assert abs(float(alpha[-1]) - 0.305) < 1e-3


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"n_partikles": 3}, TypeError, "n_partikles"),
        ({"weighting": "best"}, ValueError, "weighting is 'best'"),
        ({"posterior": "exact"}, ValueError, "posterior is 'exact'"),
        ({"s_max": 1000.0}, ValueError, "must rise"),
        ({"coarse_share": 1.5}, ValueError, "at most 1"),
        ({"coarse_share": 0.5, "objective": "reverse-kl"}, ValueError, "continuous levels"),
        ({"n_particles": 1, "n_trajectories": 0}, ValueError, "needs n_coordinate_steps"),
        ({"n_steps": 0}, ValueError, "n_steps is 0"),
        ({"n_path_levels": 1}, ValueError, "n_path_levels is 1"),
        ({"n_levels": 30}, ValueError, "ladder of beta_max 0.7 ends at s"),
    ],
)
def test_bad_settings(changes, error, match):
    with pytest.raises(error, match=match):
        DiKL(DoubleWell(), **changes)


def test_refused_before_work():
    with pytest.raises(RuntimeError, match="has not been trained"):
        DiKL(DoubleWell()).sample(3)
    sampler = DiKL(DoubleWell(), **FEW).fit(2)
    with pytest.raises(TypeError, match="unknown options"):
        sampler.sample(3, "encoder", n_refine=3)
    with pytest.raises(ValueError, match="n_refine is -1"):
        sampler.sample(3, None, n_refine=-1)


def test_the_weights_that_come_with_four_particles():
    """One pass and trajectories have the mean energy of the reference, −22.45, to .3, paths log Z of iDEM, 29.675."""
    sampler = DiKL.pretrained("dw4")
    wt = sampler.sample(2000, None, seed=1)
    assert abs(float(wt.reduced_potential.mean()) + 22.45) < 0.3
    wt = sampler.sample(500, "path", seed=1)
    assert wt.effective_sample_size > 0.3 * 500 and abs(wt.log_Z - 29.675) < 4 * wt.log_Z_standard_error


@pytest.mark.slow
def test_the_weights_that_come_with_a_cluster():
    """Mean energy of the reference, −43.0, to 1.5; no overlaps."""
    sampler = DiKL.pretrained("lj13")
    wt = sampler.sample(500, None, seed=1)
    assert abs(float(wt.reduced_potential.mean()) + 43.0) < 1.5 and float(wt.reduced_potential.max()) < 100
    assert sampler.sample(250, "path", seed=1, n_levels=100).effective_sample_size > 0.05 * 250


@pytest.mark.slow
def test_the_weights_that_come_with_many_wells():
    """Shares of deeper wells, .8453, to .03 on average and .1 in each; energy −137.2 to 3; exact log Z and shares."""
    sampler = DiKL.pretrained("mw32")
    wt = sampler.sample(4000, None, seed=1)
    shares = (wt.x[:, ::2] > 0).double().mean(0)
    assert abs(float(shares.mean()) - 0.8453) < 0.03 and float((shares - 0.8453).abs().max()) < 0.1
    assert abs(float(wt.reduced_potential.mean()) + 137.2) < 3
    wt = sampler.sample(2000, "path", seed=1)
    assert wt.effective_sample_size > 0.1 * 2000
    assert abs(wt.log_Z - sampler.target.log_Z) < 4 * wt.log_Z_standard_error
    for well in range(0, 32, 2):
        share, error = wt.expectation(lambda x, well=well: (x[:, well] > 0).double())
        assert abs(share - 0.8453) < 4 * error < 0.2
