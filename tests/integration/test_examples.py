"""The examples run as they are, in their short form."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    result = subprocess.run([sys.executable, path, "--short"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "report.html" in result.stdout and list(tmp_path.glob("*/report.html"))


def test_replica_exchange_goes_on_after_a_kill(tmp_path):
    call = [sys.executable, EXAMPLES[0].with_name("replica_exchange.py"), "--short"]
    killed = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert any("5 of 20 iterations" in line for line in killed.stdout)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    again = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on after iteration" in again.stdout
    # 20 iterations of 50 sweeps, whoever made them, and at most one that the kill undid.
    assert "300 K: 1,000 sweeps" in again.stdout or "300 K: 1,050 sweeps" in again.stdout


def test_replica_exchange_starts_over_after_a_kill_before_the_first_iteration(tmp_path):
    (tmp_path / "replica-exchange.nc").write_bytes(b"")
    call = [sys.executable, EXAMPLES[0].with_name("replica_exchange.py"), "--short"]
    again = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "starting over" in again.stdout and "300 K: 1,000 sweeps" in again.stdout
