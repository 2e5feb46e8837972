"""Runs that go on until they are done: when they look, what they keep, budgets, and how they are resumed."""

import pytest
import torch

from openmm_diffsampler import HMC, DiffusiveGibbs, GaussianMixture
from openmm_diffsampler.mcmc import Goal
from openmm_diffsampler.mcmc import sampler as sampler_module

TARGET = GaussianMixture(torch.tensor([[-1.0], [1.0]]), scales=0.7)
OPTIONS = {"n_chains": 4, "n_warmup": 20, "seed": 1}


class CutOffError(Exception):
    pass


def sampler(fail_after=None):
    made = DiffusiveGibbs(TARGET, [2.0, 0.3], step_size=0.3)
    sweep, calls = made._sweep, []

    def watched(*args, **kwargs):
        calls.append(1)
        if len(calls) - 1 == fail_after:
            raise CutOffError
        return sweep(*args, **kwargs)

    made._sweep = watched
    return made


def test_a_run_ends_when_its_goal_is_reached():
    made = sampler()
    wt = made.sample(torch.zeros(1), goal=Goal(effective_samples=300), **OPTIONS)
    assert made.ended.reason == "" and made.ended.evaluations == made.n_spent
    assert wt.effective_sample_size >= 300 and len(wt) < 2000
    longer = sampler().sample(torch.zeros(1), goal=Goal(effective_samples=900), **OPTIONS)
    assert len(longer) > len(wt) and torch.equal(longer.x.reshape(4, -1)[:, : len(wt) // 4], wt.x.reshape(4, -1))


def test_budgets():
    """Chains that never leave their wells go on until the budget is spent; then the run says so."""
    starts = torch.tensor([[-2.0], [2.0]])
    for goal, words in ((Goal(evaluations=3000), "3e+03 energy evaluations"), (Goal(minutes=0.01), "0.01 minutes")):
        made = HMC(GaussianMixture(30 * starts, scales=0.5), step_size=0.3)
        made.sample(30 * starts, n_warmup=20, goal=goal)
        assert made.ended.reason == f"the budget of {words} was spent"
    assert made.ended.effective_samples == 1000


def test_every_second_draw_goes_where_there_is_no_more_room(monkeypatch):
    """The draws of a short room are among those of a long one, evenly spaced."""
    goal = Goal(effective_samples=1e9, evaluations=9000)
    whole = sampler().sample(torch.zeros(1), goal=goal, **OPTIONS)
    monkeypatch.setattr(sampler_module, "_ROOM", 20)
    made = sampler()
    kept = made.sample(torch.zeros(1), goal=goal, **OPTIONS)
    whole, kept = (wt.x.reshape(4, -1) for wt in (whole, kept))
    assert made.stride >= 4 and 10 <= kept.shape[1] < 20
    among = whole[:, made.stride - 1 :: made.stride]
    assert 10 <= among.shape[1] <= kept.shape[1] and torch.equal(kept[:, : among.shape[1]], among)


@pytest.mark.parametrize("fail_after", [5, 30, 55, 90, 140, 175])
def test_resumed_run_is_the_same(tmp_path, monkeypatch, fail_after):
    monkeypatch.setattr(sampler_module, "_ROOM", 20)
    options = OPTIONS | {"goal": Goal(effective_samples=1e9, evaluations=9000), "checkpoint_every": 3}
    made = sampler()
    whole = made.sample(torch.zeros(1), **options)
    with pytest.raises(CutOffError):
        sampler(fail_after).sample(torch.zeros(1), checkpoint=tmp_path, **options)
    again = sampler()
    resumed = again.sample(torch.zeros(1), checkpoint=tmp_path, **options)
    assert torch.equal(whole.x, resumed.x) and made.ended == again.ended and made.stride == again.stride
    names = sorted(path.name for path in tmp_path.glob("block-*"))
    assert names[0].startswith("block-00000000-") and len(names) < 8
    once_more = sampler(0).sample(torch.zeros(1), checkpoint=tmp_path, **options)  # not one sweep more
    assert torch.equal(whole.x, once_more.x)


def test_a_run_that_reached_its_goal_is_not_continued(tmp_path):
    options = OPTIONS | {"goal": Goal(effective_samples=300), "checkpoint": tmp_path}
    whole = sampler().sample(torch.zeros(1), **options)
    assert torch.equal(whole.x, sampler(0).sample(torch.zeros(1), **options).x)
    further = sampler().sample(torch.zeros(1), **(options | {"goal": Goal(effective_samples=600)}))
    assert len(further) > len(whole)
    with pytest.raises(ValueError, match=r"another most draws \(1000, here None\)"):
        sampler().sample(torch.zeros(1), 10, checkpoint=tmp_path, **OPTIONS)


def test_length_and_goal_exclude_each_other():
    with pytest.raises(ValueError, match="the length of the run or its goal"):
        sampler().sample(torch.zeros(1), 10, goal=Goal())
    for wrong in ({"effective_samples": 0}, {"evaluations": float("nan")}, {"minutes": -1}, {"r_hat": 1.0}):
        with pytest.raises(ValueError, match="give a number above"):
            Goal(**wrong)
