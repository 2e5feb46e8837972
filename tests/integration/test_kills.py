"""Commands that are killed at random moments and started again end bit for bit as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.samplers.state_files import load_state
from tests.integration.shell import process

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Kills of each signal and command in the long test.
N_KILLS = int(os.environ.get("OPENMM_DIFFSAMPLER_KILLS", "100"))

FEW = ["batch_size=16", "buffer_size=64", "n_refresh=8", "n_refresh_levels=4", "refresh_every=5", "n_draws=2"]
RUN = ["run", "alanine-dipeptide-vacuum", "--chains", "8", "--warmup", "40", "--thinning", "2", "--no-progress"]
TRAIN = ["train", "gmm40", "--method", "idem", "--checkpoint-every", "7", "--no-progress"]
TRAIN += [word for setting in [*FEW, "width=8", "n_layers=1"] for word in ("--setting", setting)]


def run_result(folder: Path) -> dict[str, torch.Tensor]:
    wt = WeightedTrajectory.load(folder / "trajectory.dcd")
    numbers = json.loads((folder / "diagnostics.json").read_text())
    rows = [
        [float(row[name]) for name in sorted(row) if name not in ("level", "seconds") and "/s" not in name]
        for row in numbers["levels"]
    ]
    return {
        "frames": wt.x,
        "energies": wt.reduced_potential,
        "weights": wt.log_weights,
        **{f"level {k}": torch.tensor(row) for k, row in enumerate(rows)},
    }


def train_result(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}

    def collect(state: dict[str, object], prefix: str) -> None:
        for name, value in state.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}/{name}")
            elif isinstance(value, torch.Tensor):
                tensors[f"{prefix}/{name}"] = value

    collect(load_state(folder / "model.safetensors"), "")
    record = json.loads((folder / "sampler.json").read_text())["training"]
    return tensors | {"cost": torch.tensor([record["n_steps"], record["n_evaluations"]])}


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys() and len(one) > 2
    assert all(torch.equal(one[name], two[name]) for name in one)


def start(words: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    # A shell that runs this in the background has interrupts ignored, and children inherit it.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    call = [*process(*words, "--output", str(folder))]
    with open(log, "ab") as file:
        return subprocess.Popen(call, env=environment, cwd=folder.parent, stdout=file, stderr=file, **heard)


def killed(words: list[str], folder: Path, number: int, delay: float, log: Path) -> float | None:
    """Send a signal after a delay; seconds until the command ended then, or None if it had ended before."""
    child = start(words, folder, log)
    begin = time.monotonic()
    while child.poll() is None and time.monotonic() < begin + delay:
        time.sleep(0.005)
    sent = time.monotonic()
    if child.poll() is not None:
        assert child.returncode == 0, log.read_text()
        return None
    child.send_signal(number)
    child.wait(timeout=60)
    assert "Traceback" not in log.read_text(), log.read_text()
    return time.monotonic() - sent


def is_finished(folder: Path) -> bool:
    """Whether the command has said that there is nothing left to do."""
    return any((folder / name).exists() for name in ("diagnostics.json", "sampler.json"))


def finish(words: list[str], folder: Path, log: Path) -> float:
    begin = time.monotonic()
    assert start(words, folder, log).wait(timeout=600) == 0, log.read_text()
    return time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "result", "seed"),
    [([*RUN, "--draws", "150"], run_result, 0), ([*TRAIN, "--steps", "120"], train_result, 1)],
    ids=["run", "train"],
)
def test_killed_a_few_times(
    tmp_path: Path, words: list[str], result: Callable[[Path], dict[str, torch.Tensor]], seed: int
) -> None:
    seconds = finish(words, tmp_path / "whole", tmp_path / "whole.log")
    moments = random.Random(seed)
    folder, log = tmp_path / "killed", tmp_path / "killed.log"
    for number in SIGNALS:
        if not is_finished(folder):
            killed(words, folder, number, moments.uniform(0.4, 0.9) * seconds, log)
    if not is_finished(folder):
        finish(words, folder, log)
    assert_same(result(tmp_path / "whole"), result(folder))


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("words", "result"),
    [([*RUN, "--draws", "400"], run_result), ([*TRAIN, "--steps", "300"], train_result)],
    ids=["run", "train"],
)
def test_killed_at_a_hundred_random_moments(
    tmp_path: Path,
    number: signal.Signals,
    words: list[str],
    result: Callable[[Path], dict[str, torch.Tensor]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The moments are spread over all of the command, its imports and its last files included."""
    seconds = finish(words, tmp_path / "whole", tmp_path / "whole.log")
    expected, moments = result(tmp_path / "whole"), random.Random(int(number))
    waits: list[float] = []
    n_runs = 0
    while len(waits) < N_KILLS:
        folder, log = tmp_path / f"killed-{n_runs}", tmp_path / f"killed-{n_runs}.log"
        for _ in range(8):
            begin = time.monotonic()
            wait = killed(words, folder, number, moments.uniform(0.0, 1.0) * seconds, log)
            if wait is None:  # the machine may have been busy when it was measured
                seconds = min(seconds, time.monotonic() - begin)
            waits += [] if wait is None else [wait]
            if is_finished(folder):
                break
        else:
            finish(words, folder, log)
        assert_same(expected, result(folder))
        n_runs += 1
    waits.sort()
    with capsys.disabled():
        print(
            f"\n{number.name}, {words[0]}: {len(waits)} kills in {n_runs} runs, all the same; the command ended "
            f"{waits[len(waits) // 2]:.2f} s after the signal (median), {waits[-1]:.2f} s at most"
        )
