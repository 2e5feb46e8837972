"""The Boltzmann generator: exact weights, what it leaves out and says so, resume, refusals."""

import warnings

import pytest
import torch

from openmm_diffsampler import (
    HMC,
    BoltzmannGenerator,
    GaussianMixture,
    LennardJones,
    OpenMMTarget,
    load_system,
)
from openmm_diffsampler.samplers import MissedModeWarning, load_sampler, recommended_method
from openmm_diffsampler.samplers.training import Training
from tests.mcmc.torsion_chain import TorsionChain

SMALL = {"n_exploration": 1_500_000, "n_chains": 1000, "batch_size": 512, "width": 24, "n_warmup": 2}


def mixture():
    return GaussianMixture([[-2.0, 0.0], [2.0, 1.0]], scales=0.5, weights=[1, 3])


@pytest.fixture(scope="module")
def trained():
    return BoltzmannGenerator(mixture(), **SMALL, n_real_waves=2, refresh_every=10).fit(600)


@pytest.fixture(scope="module")
def peptide():
    """Hardly trained."""
    target = load_system("alanine-dipeptide-vacuum").target()
    settings = {"n_exploration": 100_000, "n_chains": 32, "batch_size": 256, "width": 16}
    return BoltzmannGenerator(target, **settings, refresh_every=10, n_refresh=256).fit(20)


def test_weights_of_a_mixture_are_exact(trained):
    wt = trained.sample(20_000, seed=1)
    assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error  # z of 4
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert abs(share - 0.75) < 4 * error
    assert wt.effective_sample_size > 0.8 * len(wt)
    assert trained.diagnostics.warning is None
    assert abs(trained.diagnostics.forward_ess - trained.diagnostics.reverse_ess) < 0.1


def test_annealed_weights_of_a_molecule_are_exact_and_more_even():
    """The chain of known Z again, hardly trained; z of 4."""
    chain = TorsionChain(biases=(0.5,), height=4.0)
    settings = {"n_exploration": 100_000, "n_chains": 64, "batch_size": 256, "width": 8}
    sampler = BoltzmannGenerator(chain.target, **settings, n_refresh=256).fit(40)
    one, four = (sampler.sample(10_000, weights, seed=1) for weights in ("density", "annealed"))
    assert four.effective_sample_size > 1.1 * one.effective_sample_size
    assert abs(four.log_Z - chain.log_z()) < 4 * four.log_Z_standard_error
    share, error = four.expectation((chain.torsions(four.x)[:, 0].abs() < torch.pi / 2).double())
    assert abs(share - chain.share(0.5)) < 4 * error
    assert four.log_q is None and sampler.diagnostics is None


def test_log_q_is_the_density_of_the_samples(trained):
    wt = trained.sample(1000, seed=2)
    c = trained.columns.to_columns(wt.x)
    assert torch.allclose(trained._log_q(c) - trained.columns.log_scale, wt.log_q, atol=1e-3)


def test_samples_do_not_depend_on_what_is_asked_for_later(trained):
    assert torch.equal(trained.sample(500, seed=3).x, trained.sample(500, None, seed=3).x)


def test_molecule_has_its_known_log_z_and_populations():
    """A chain of independent torsions in 4 kT wells, whose Z is a product of integrals; z of 4."""
    chain = TorsionChain(biases=(0.5, -0.3), height=4.0)
    settings = {"n_exploration": 300_000, "n_chains": 100, "batch_size": 512, "width": 16}
    sampler = BoltzmannGenerator(chain.target, **settings, learning_rate=5e-3, n_refresh=512).fit(200)
    wt = sampler.sample(20_000, seed=1)
    assert wt.effective_sample_size > 0.8 * len(wt) and sampler.diagnostics.warning is None
    assert abs(wt.log_Z - chain.log_z()) < 4 * wt.log_Z_standard_error
    for torsion, bias in zip(chain.torsions(wt.x).unbind(1), chain.bias_of(), strict=True):
        share, error = wt.expectation((torsion.abs() < torch.pi / 2).double())
        assert abs(share - chain.share(bias)) < 4 * error
    again = chain.target.reduced_potential(wt.x.double())
    assert torch.allclose(again, wt.reduced_potential, atol=1e-6)


def test_molecule_keeps_its_hand(peptide):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissedModeWarning)
        wt = peptide.sample(2000, seed=4)
    assert wt.trajectory.xyz.shape == (2000, 22, 3)
    valid = wt.reduced_potential.isfinite()
    assert peptide.internal.handedness.is_kept(wt.x[valid].double()).all()


def test_what_is_saved_samples_alike(peptide, tmp_path):
    peptide.save(tmp_path)
    loaded = BoltzmannGenerator.load(tmp_path, peptide.target)
    ours, theirs = (sampler.sample(200, None, seed=5) for sampler in (peptide, loaded))
    assert torch.equal(ours.x, theirs.x)
    assert torch.allclose(peptide.held_out, loaded.held_out, atol=1e-3)
    assert (tmp_path / "model.safetensors").stat().st_size < 3e6


def test_a_molecule_of_ones_own_is_saved_with_its_sampler(tmp_path):
    chain = TorsionChain(biases=(0.5,), height=4.0)
    settings = {"n_exploration": 60_000, "n_chains": 32, "n_warmup": 20, "batch_size": 64, "width": 8}
    sampler = BoltzmannGenerator(chain.target, **settings).fit(5)
    sampler.save(tmp_path / "saved")
    loaded = load_sampler(tmp_path / "saved")
    assert loaded.target.name == chain.target.name
    assert torch.equal(loaded.sample(20, None, seed=1).x, sampler.sample(20, None, seed=1).x)


class Starved(BoltzmannGenerator):
    """Its buffer has lost a basin; the held-out configurations have not."""

    def _prepare(self, run):
        super()._prepare(run)
        buffer = self.buffer
        kept = self.columns.from_columns(buffer.c)[0][:, 0] > 0
        buffer.c, buffer.u = buffer.c[kept], buffer.u[kept]
        self.settings.__dict__["refresh_every"] = 10**9


def test_a_buffer_without_a_basin_is_warned_of():
    sampler = Starved(mixture(), **SMALL).fit(400)
    with pytest.warns(MissedModeWarning, match="a mode, or a way between modes, is missing"):
        wt = sampler.sample(5000, seed=1)
    assert wt.effective_sample_size > 0.5 * len(wt)  # which looks good, and is not
    assert sampler.diagnostics.forward_ess < 0.1


def test_interrupted_run_goes_on_bit_for_bit(tmp_path):
    settings = SMALL | {"batch_size": 128, "width": 8, "n_refresh": 256, "refresh_every": 5}
    whole = BoltzmannGenerator(mixture(), **settings).fit(60)
    part = BoltzmannGenerator(mixture(), **settings)
    step = part._after_step

    def stop(run):
        if run.step == 40:
            raise RuntimeError("killed")
        return step(run)

    part._after_step = stop
    with pytest.raises(RuntimeError, match="killed"):
        part.fit(60, checkpoint=tmp_path, checkpoint_every=17)
    resumed = BoltzmannGenerator(mixture(), **settings).fit(60, checkpoint=tmp_path, checkpoint_every=17)
    assert all(torch.equal(a, b) for a, b in zip(whole.average.parameters(), resumed.average.parameters(), strict=True))
    assert torch.equal(whole.held_out, resumed.held_out)
    assert whole.record["n_evaluations"] == resumed.record["n_evaluations"]


def test_feeding_back_keeps_the_buffer_in_equilibrium():
    """Samples of a generator with the wrong shares enter by their weights; 40 exact buffers, z of 4."""
    sampler, target = BoltzmannGenerator(mixture(), **SMALL, n_refresh=1000), mixture()
    run = Training(sampler, 100)
    sampler._prepare(run)
    shares, swaps = [], []
    for _ in range(40):
        x = target.sample(1000, run.generator)
        sampler.buffer.c = sampler.columns.to_columns(x)
        sampler.buffer.u = target.reduced_potential(x) - sampler.columns.log_scale
        run.step = sampler.settings.refresh_every
        swaps.append(sampler._after_step(run)["swaps"])
        shares.append(float((sampler.columns.from_columns(sampler.buffer.c)[0][:, 0] > 0).double().mean()))
    share = torch.tensor(shares, dtype=torch.float64)
    assert abs(share.mean() - 0.75) < 4 * share.std() / 40**0.5
    assert 0.05 < sum(swaps) / 40 < 0.95


def test_rows_with_rare_torsions_come_more_often(peptide):
    """Every other row, in proportion to p^{−1/2} of the bin of its rarest torsion; z of 4."""
    weights = peptide.buffer.rarity()
    expected = weights / weights.sum()
    rows = peptide.buffer.rows(200_000, torch.Generator().manual_seed(0), rare=True)
    rarest = weights.argsort(descending=True)[: len(weights) // 50]
    p = float(expected[rarest].sum())
    share = float(torch.isin(rows[::2], rarest).double().mean())
    assert p > 0.04 and abs(share - p) < 4 * (p * (1 - p) / 100_000) ** 0.5
    share = float(torch.isin(rows[1::2], rarest).double().mean())
    assert abs(share - 0.02) < 4 * (0.02 / 100_000) ** 0.5 + 1e-4


def test_noised_copies_turn_torsions_and_have_their_own_energies(peptide):
    buffer, generator, n = peptide.buffer, torch.Generator().manual_seed(0), 2000
    before = buffer.c[:1].expand(n, -1)
    c, u, others = buffer.draw_mixed(n, 0.0, 1.0, generator)
    assert others == n
    c, u = buffer._noised(before, buffer.u[:1].expand(n), generator)
    away = buffer.columns.from_columns(c)[0] - buffer.columns.from_columns(before)[0]
    torsions = buffer.target.turning
    far = (away[:, torsions].abs() > 0.8).double().mean(0)
    by_noise, by_turn = 0.02, 0.5 / len(torsions) / 3  # a third of the turns is beyond 0.8
    assert (far > by_noise + by_turn / 2).all() and (far < 0.1).all()
    kept = u < buffer.u[0] + 19.9
    assert kept.double().mean() > 0.5
    torch.testing.assert_close(u[kept], buffer.reduced_potential(c[kept]), rtol=1e-4, atol=1e-2)


def test_refusals():
    with pytest.raises(TypeError, match="no setting 'widht'"):
        BoltzmannGenerator(mixture(), widht=3)
    with pytest.raises(ValueError, match="must rise"):
        BoltzmannGenerator(mixture(), likelihood_until=0.9)
    with pytest.raises(ValueError, match="before the first draw"):
        BoltzmannGenerator(mixture(), n_exploration=10).fit(5)
    with pytest.raises(RuntimeError, match="has not been trained"):
        BoltzmannGenerator(mixture()).sample(5)
    molecule = load_system("alanine-dipeptide-vacuum")
    bare = OpenMMTarget(molecule.system, molecule.temperature, molecule.topology)
    with pytest.raises(ValueError, match="has no positions"):
        BoltzmannGenerator(bare)


def test_weights_that_the_method_does_not_have(trained):
    with pytest.raises(ValueError, match="supports 'auto', 'density', 'annealed', None"):
        trained.sample(5, weights="path")
    with pytest.raises(TypeError, match="n_levels"):
        trained.sample(5, n_levels=3)


def test_particles_that_are_alike_have_the_energies_of_chains():
    """A cluster of three against Hamiltonian Monte Carlo of 50,000 draws; z of 4."""
    target = LennardJones(3)
    settings = {"n_exploration": 1_500_000, "n_chains": 1000, "scale": 2.0, "n_real_waves": 1, "width": 24}
    sampler = BoltzmannGenerator(target, **settings, batch_size=512, learning_rate=5e-3).fit(400)
    wt = sampler.sample(20_000, seed=1)
    assert wt.effective_sample_size > 0.05 * len(wt)
    start = target.normal(500, torch.Generator().manual_seed(0))
    chains = HMC(target, step_size=0.05).sample(start, 100, n_warmup=100, thinning=5, seed=2)
    ours, theirs = wt.expectation(wt.reduced_potential), chains.expectation(chains.reduced_potential)
    error = (ours.standard_error**2 + theirs.standard_error**2) ** 0.5
    assert abs(ours.value - theirs.value) < 4 * error
    assert wt.x.mean(1).abs().max() < 1e-5


def test_recommended_method():
    assert recommended_method(mixture()) == "boltzmann"
    assert recommended_method(LennardJones(13)) == "idem"
    assert recommended_method(load_system("lj13").target()) == "idem"
    assert recommended_method(load_system("alanine-dipeptide").target()) == "boltzmann"
