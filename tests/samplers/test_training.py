"""The training loop: resume after a kill, interrupts, several processes, divergence, refusals."""

import csv
import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from openmm_diffsampler import IDEM, DoubleWell
from openmm_diffsampler.samplers import TrainingDivergedError

from . import train_two_modes
from .train_two_modes import mixture, train

STEPS = 100


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(folder, STEPS)
    return folder


def start(folder, *launcher):
    call = [sys.executable, *launcher, train_two_modes.__file__, str(folder), str(STEPS)]
    return subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def losses(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def wait_for(process, folder, pattern):
    while not list(folder.glob(pattern)) and process.poll() is None:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_resumed_equals_a_whole_run_bit_for_bit(number, whole, tmp_path):
    killed = start(tmp_path)
    wait_for(killed, tmp_path, "checkpoint/step-0000006*")
    killed.send_signal(number)
    output = killed.communicate()[0]
    assert killed.returncode != 0
    if number == signal.SIGTERM:
        assert "holds all of it" in output
    train(tmp_path, STEPS)
    assert losses(tmp_path) == losses(whole) and len(losses(whole)) == 14
    one, two = (IDEM.load(folder / "sampler", mixture()) for folder in (whole, tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(one.average.parameters(), two.average.parameters(), strict=True))
    assert torch.equal(one.tables.size, two.tables.size)
    assert one.record["n_evaluations"] == two.record["n_evaluations"]


def test_two_processes_train_one_sampler(whole, tmp_path):
    """The weights of both runs estimate log Z = 0 and the share of the larger mode, within 4 standard errors."""
    two = start(tmp_path, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone")
    output = two.communicate()[0]
    assert two.returncode == 0, output
    sizes = []
    for folder in (whole, tmp_path):
        wt = IDEM.load(folder / "sampler", mixture()).sample(1000, seed=1)
        assert abs(wt.log_Z) < 4 * wt.log_Z_standard_error
        share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
        assert abs(share - 0.75) < 4 * error
        sizes.append(wt.effective_sample_size / 1000)
    assert min(sizes) > 0.3 and abs(sizes[0] - sizes[1]) < 0.3
    assert json.loads((tmp_path / "sampler" / "sampler.json").read_text())["training"]["processes"] == 2


def tiny(**settings):
    few = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 10}
    return IDEM(mixture(), **(few | {"width": 8} | settings))


def test_a_diverging_run_names_the_last_good_checkpoint(tmp_path):
    sampler = tiny(learning_rate=1e6, gradient_clip=1e9, ema_decay=0.5)
    with pytest.raises(TrainingDivergedError, match=r"diverged at step \d+.*checkpoint.*finite energy"):
        sampler.fit(2000, checkpoint=tmp_path, checkpoint_every=5, metrics_every=5)


def test_refusals(tmp_path):
    sampler = tiny().fit(5, checkpoint=tmp_path)
    assert sampler.record["n_steps"] == 5
    with pytest.raises(ValueError, match="other settings"):
        tiny(batch_size=8).fit(5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="other steps"):
        tiny().fit(6, checkpoint=tmp_path)
    next(tmp_path.glob("step-*")).write_bytes(b"no")
    with pytest.raises(ValueError, match="delete this file"):
        tiny().fit(5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="n_steps is 0"):
        tiny().fit(0)


def test_a_finished_run_is_not_run_again(tmp_path):
    first = tiny().fit(12, checkpoint=tmp_path)
    again = tiny().fit(12, checkpoint=tmp_path)
    assert again.record["n_steps"] == 12
    assert all(torch.equal(a, b) for a, b in zip(first.average.parameters(), again.average.parameters(), strict=True))


def test_single_precision_may_be_asked_for():
    sampler = tiny().fit(3, precision="32-true")
    assert all(p.dtype == torch.float32 for p in sampler.model.parameters())
    assert DoubleWell().n_evaluations == 0
