"""iDEM of a molecule in internal coordinates; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler import IDEM, InternalDiffusiveGibbs, WeightedTrajectory, load_system
from openmm_diffsampler.samplers import load_sampler
from tests.mcmc.torsion_chain import TorsionChain

CHAIN = TorsionChain(biases=(0.5,), height=6.0)
EXPLORATION = {"n_exploration": 60_000, "n_chains": 64, "n_warmup": 40, "thinning": 4, "buffer_size": 512}
LITTLE = EXPLORATION | {"n_exploration": 20_000, "n_chains": 16, "buffer_size": 64}
FEW = {"batch_size": 8, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 2, "width": 8, "n_levels": 10}


def internal(chain=CHAIN):
    return InternalDiffusiveGibbs(chain.target, chain.start).target


@pytest.fixture(scope="module")
def trained():
    settings = {"batch_size": 128, "n_refresh": 128, "n_refresh_levels": 30, "refresh_every": 100, "n_levels": 60}
    return IDEM(internal(), width=48, n_layers=2, n_trajectories=2, **EXPLORATION, **settings).fit(400)


def cis(x):
    return (CHAIN.torsions(x)[:, 0].abs() < math.pi / 2).double()


@pytest.mark.parametrize("weights", ["path", "ode"])
def test_populations_and_log_z(trained, weights, tmp_path):
    wt = trained.sample(3000 if weights == "path" else 1000, weights, seed=1)
    assert wt.effective_sample_size > 0.5 * len(wt)
    share, error = wt.expectation(cis)
    assert abs(share - CHAIN.share(0.5)) < 4 * error
    assert abs(wt.log_Z - CHAIN.log_z()) < 4 * wt.log_Z_standard_error
    torch.testing.assert_close(wt.reduced_potential, CHAIN.target.reduced_potential(wt.x))
    wt.save(tmp_path / "frames.dcd")
    assert WeightedTrajectory.load(tmp_path / "frames.dcd").trajectory.n_atoms == 4


def test_saved_and_loaded(trained, tmp_path):
    """Into a target of other widths, which get those that the network was trained with."""
    trained.save(tmp_path)
    target = internal()
    target.set_widths(3 * target.widths)
    again = load_sampler(tmp_path, target)
    assert torch.equal(again.sample(50, seed=3).x, trained.sample(50, seed=3).x)
    assert torch.equal(again.sample(50, seed=3).log_weights, trained.sample(50, seed=3).log_weights)
    assert again.record == trained.record and again.record["n_evaluations"] > 60_000 + 400 * 128 * 10


def test_resumed(tmp_path):
    """From a checkpoint, as if it had never stopped."""
    whole = IDEM(internal(), **(LITTLE | FEW)).fit(6)
    part = IDEM(internal(), **(LITTLE | FEW))
    after_step = part._after_step

    def stopping(run):
        metrics = after_step(run)
        if run.step == 4:
            raise KeyboardInterrupt
        return metrics

    part._after_step = stopping
    with pytest.raises(KeyboardInterrupt):
        part.fit(6, checkpoint=tmp_path, checkpoint_every=3)
    again = IDEM(internal(), **(LITTLE | FEW)).fit(6, checkpoint=tmp_path)
    assert torch.equal(again.sample(5, seed=1).x, whole.sample(5, seed=1).x)


def test_the_published_preset_starts_from_nothing():
    sampler = IDEM(internal(), "paper", **(FEW | {"n_draws": 4, "buffer_size": 64})).fit(4)
    assert sampler.settings.initial == "model" and sampler.sample(20, None).x.shape == (20, 4, 3)


def test_alanine_dipeptide_trains_samples_and_has_frames():
    molecule = load_system("alanine-dipeptide")
    target = InternalDiffusiveGibbs(molecule.target(), molecule.positions).target
    sampler = IDEM(target, **(LITTLE | FEW)).fit(4)
    wt = sampler.sample(20, None)
    assert wt.topology is target.cartesian.topology and wt.trajectory.n_atoms == 22
    valid = wt.reduced_potential.isfinite()
    torch.testing.assert_close(wt.reduced_potential[valid], target.cartesian.reduced_potential(wt.x[valid]))
    with pytest.raises(ValueError, match="molecules are 'explored'"):
        IDEM(target, initial="annealed")
