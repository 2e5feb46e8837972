"""One process a folder."""

import subprocess
import sys

import pytest

from openmm_diffsampler._common.folder_lock import FolderInUseError, held

HOLD = """
import sys
from openmm_diffsampler._common.folder_lock import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_and_told_who(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(FolderInUseError, match=f"in use by process {other.pid} on "), held(tmp_path):
        pass
    other.kill()  # not even cleanly
    other.wait()
    with held(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_same_process_is_kept_out_too(tmp_path):
    with held(tmp_path / "new"):
        with pytest.raises(FolderInUseError), held(tmp_path / "new"):
            pass
        with held(tmp_path / "another"):
            pass


def test_an_error_lets_go(tmp_path):
    with pytest.raises(RuntimeError), held(tmp_path):
        raise RuntimeError
    with held(tmp_path):
        pass
