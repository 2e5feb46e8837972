"""Replay buffer, density of levels, files of states, metrics: the small parts of training."""

import csv

import pytest
import torch

from openmm_diffsampler.samplers.levels_density import LevelDensity
from openmm_diffsampler.samplers.metrics import MetricsLog
from openmm_diffsampler.samplers.replay import ReplayBuffer
from openmm_diffsampler.samplers.state_files import DamagedFileError, load_state, save_state


def test_buffer():
    buffer, generator = ReplayBuffer(torch.arange(10.0)[:, None], size=8), torch.Generator().manual_seed(0)
    assert buffer.x.flatten().tolist() == list(range(2, 10))
    rows = buffer.draw(8, generator)
    assert sorted(rows.tolist()) == list(range(8))
    assert len(buffer.draw(20, generator)) == 20
    buffer.replace(rows[:2], torch.full((2, 1), -1.0))
    assert (buffer.x == -1).sum() == 2
    with pytest.raises(ValueError, match="at least 1"):
        ReplayBuffer(torch.zeros(1, 1), size=0)


def test_levels_are_drawn_without_bias_and_where_losses_are():
    density, generator = LevelDensity(adaptive=True), torch.Generator().manual_seed(0)

    def loss(t):
        return 1 + 20 * (t > 0.75).double()

    for _ in range(200):
        t, _ = density.draw(256, generator)
        density.learn(t, loss(t))
    t, _ = density.draw(256, generator)
    assert (t > 0.75).double().mean() > 0.5 and (t >= 0).all() and (t <= 1).all()
    means = torch.stack([(w * t.square()).mean() for t, w in (density.draw(256, generator) for _ in range(100))])
    assert abs(means.mean() - 1 / 3) < 4 * means.std() / 10  # the integral of t² is 1/3
    assert (means.mean() - 1 / 3).abs() < 1e-3
    again = LevelDensity(adaptive=True)
    again.load_state_dict(density.state_dict())
    seeds = [torch.Generator().manual_seed(5) for _ in range(2)]
    assert torch.equal(again.draw(8, seeds[0])[0], density.draw(8, seeds[1])[0])


def test_states_come_back(tmp_path):
    state = {"a": 1, "b": {"c": torch.ones(2), "d": {"e": None, "f": [1, 2.5]}}, "g": "text"}
    save_state(tmp_path / "s.safetensors", state)
    found = load_state(tmp_path / "s.safetensors")
    assert torch.equal(found["b"].pop("c"), state["b"].pop("c")) and found == state
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]
    (tmp_path / "s.safetensors").write_bytes((tmp_path / "s.safetensors").read_bytes()[:50])
    with pytest.raises(DamagedFileError, match="is damaged"):
        load_state(tmp_path / "s.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_state(tmp_path / "other.safetensors")


def test_metrics_are_means_and_forget_what_comes_after_the_step_of_a_resume(tmp_path):
    log = MetricsLog(tmp_path, every=2)
    for step in range(1, 7):
        every_step = {"loss": float(step), "gradient norm": 1.0, "seconds": 0.0}
        log.add(step, every_step | {"rare": 1.0 if step == 3 else float("nan")})
    log.close()
    again = MetricsLog(tmp_path, every=2, step=4)
    again.add(5, {"loss": 50.0})
    row = again.add(6, {"loss": 60.0})
    again.close()
    assert row == {"step": 6, "loss": 55.0}
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["step"], r["loss"], r["rare"]) for r in rows] == [
        ("2", "1.5", "nan"),
        ("4", "3.5", "1.0"),
        ("6", "55.0", ""),
    ]
    assert list((tmp_path / "tensorboard").glob("events*"))
