"""Chains led from a Gaussian to the target, against known partition functions and moments."""

import pytest
import torch

from openmm_diffsampler import GaussianMixture, LennardJones, ManyWell
from openmm_diffsampler.mcmc.annealing import annealed_chains


def test_partition_function_and_mode_weights():
    """Eight runs each: mean log Z within 4 standard errors (it is unbiased in Z, so up to half its variance low)."""
    mixture = GaussianMixture([[-4.0], [4.0]], scales=0.5, weights=[0.2, 0.8])
    for target, scale in ((mixture, 6.0), (ManyWell(2), 2.0)):
        runs = [annealed_chains(target, 1000, scale, torch.Generator().manual_seed(k), n_final=5) for k in range(8)]
        found = torch.tensor([run.log_Z for run in runs], dtype=torch.float64)
        assert abs(found.mean() + found.var() / 2 - target.log_Z) < 4 * found.std() / 8**0.5
        if target is mixture:
            share = torch.stack([(run.state.x > 0).double().mean() for run in runs])
            assert abs(share.mean() - 0.8) < 4 * share.std() / 8**0.5


def test_no_chain_is_left_in_an_overlap():
    chains = annealed_chains(LennardJones(13), 500, 3.0, torch.Generator().manual_seed(0), n_final=50)
    assert chains.state.u.isfinite().all() and chains.state.u.max() < 0
    assert chains.state.x.mean(1).abs().max() < 1e-9
    assert abs(chains.state.u.mean() + 43) < 2  # the reference is −43.1; a short run ends a little above


def test_what_cannot_be_reached_is_told():
    with pytest.raises(RuntimeError, match="3 levels led only to"):
        annealed_chains(LennardJones(13), 50, 3.0, torch.Generator().manual_seed(0), max_levels=3)
