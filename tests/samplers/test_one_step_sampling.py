"""What is fitted once a one-step generator is trained: refinement, weights of poor generators, samples that ran off."""

import pytest
import torch

from openmm_diffsampler import DiKL, DoubleWell, GaussianMixture
from openmm_diffsampler.samplers import TrainingDivergedError, one_step_sampling
from openmm_diffsampler.samplers.dikl_settings import dikl_settings
from openmm_diffsampler.samplers.one_step_sampling import OneStepSampling, one_pass

from .small_dikl import FEW, SMALL


def test_path_weights_of_a_poor_generator_are_even_after_refinement():
    """A generator three times too wide: what the diffusion model is fitted to is in equilibrium all the same."""
    target = GaussianMixture(torch.zeros(1, 3), scales=0.4, name="narrow")
    share = {}
    for n_refine in (0, 20):
        sampler = DiKL(target, **SMALL, scale=1.2, n_refine=n_refine, n_final_steps=150).fit(1)
        wt = sampler.sample(500, "path", seed=1)
        share[n_refine] = wt.effective_sample_size / len(wt)
        assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error or n_refine == 0
    assert share[0] < 0.3 and share[20] > 0.6


def test_nothing_samples_before_weights_are_fitted(monkeypatch):
    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr(OneStepSampling, "_fit_encoder", stop)
    sampler = DiKL(DoubleWell(), **FEW)
    sampler.sampling.step_size = 0.1  # as if it had been trained before
    with pytest.raises(StoppedError):
        sampler.fit(2)
    with pytest.raises(RuntimeError, match="not been trained"):
        sampler.sample(5, "path")


@pytest.mark.parametrize(("share", "match"), [(1.0, "finite energy. Of the latest samples"), (0.5, None)])
def test_samples_that_ran_off_are_left_out_of_what_weights_are_fitted_to(share, match, monkeypatch):
    def ran_off(target, model, n, generator):
        z, x = one_pass(target, model, n, generator)
        x[: round(share * n)] = torch.nan
        return z, x

    monkeypatch.setattr(one_step_sampling, "one_pass", ran_off)
    sampler = DiKL(GaussianMixture([[0.0]], scales=1.0), **FEW)
    if match:
        with pytest.raises(TrainingDivergedError, match=match):
            sampler.fit(2)
    else:
        sampler.fit(2)
        for part in (sampler.sampling.diffusion, sampler.sampling.encoder):
            assert all(p.isfinite().all() for p in part.parameters())


@pytest.mark.parametrize("n_leapfrog", [3, 5])
def test_refinement_brings_samples_nearer(n_leapfrog):
    target = DoubleWell()
    sampler = DiKL(target, n_refine_leapfrog=n_leapfrog, **FEW).fit(3)
    means = [float(sampler.sample(500, None, seed=1, n_refine=n).reduced_potential.mean()) for n in (0, 5, 50)]
    assert means[0] > means[1] > means[2]
    counted = target.n_evaluations
    sampler.sample(10, None)
    # Twenty trajectories, unless told otherwise.
    assert target.n_evaluations - counted == 10 * (1 + 20 * n_leapfrog)
    assert dikl_settings(target, "paper").n_refine == 0
