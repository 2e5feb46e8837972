"""A run that was cut off goes on exactly; damaged and foreign checkpoints are refused."""

import pytest
import torch

from openmm_diffsampler import DiffusiveGibbs, GaussianMixture

TARGET = GaussianMixture(torch.tensor([[-2.0], [2.0]]), scales=0.5)


class CutOffError(Exception):
    pass


def sample(folder, *, fail_after=None, seed=1):
    sampler = DiffusiveGibbs(TARGET, [2.0, 0.3], step_size=0.3)
    if fail_after is not None:
        sweep, calls = sampler._sweep, []

        def failing(*args, **kwargs):
            calls.append(1)
            if len(calls) > fail_after:
                raise CutOffError
            return sweep(*args, **kwargs)

        sampler._sweep = failing
    wt = sampler.sample(torch.zeros(1), 20, n_chains=5, n_warmup=20, thinning=2, seed=seed, checkpoint=folder)
    return wt, sampler.statistics


@pytest.mark.parametrize("fail_after", [3, 13, 25, 45])
def test_resumed_run_is_the_same(tmp_path, fail_after):
    whole, statistics = sample(None)
    with pytest.raises(CutOffError):
        sample(tmp_path / "run", fail_after=fail_after)
    resumed, again = sample(tmp_path / "run")
    assert torch.equal(whole.x, resumed.x) and torch.equal(whole.reduced_potential, resumed.reduced_potential)
    for row in (*statistics, *again):
        del row["seconds"]
    assert statistics == again


def test_other_settings_and_damage_are_refused(tmp_path):
    sample(tmp_path)
    with pytest.raises(ValueError, match="another seed"):
        sample(tmp_path, seed=2)
    block = sorted(tmp_path.glob("block-*"))[-1]
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        sample(tmp_path)
