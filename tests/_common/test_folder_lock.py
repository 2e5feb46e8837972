"""One process a folder."""

import errno
import shutil
import subprocess
import sys

import pytest

from openmm_diffsampler._common import folder_lock
from openmm_diffsampler._common.folder_lock import FolderInUseError, UnlockedFolderWarning, held

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


def test_the_lock_of_a_folder_that_was_made_anew_is_left_alone(tmp_path):
    with held(tmp_path / "out"):
        shutil.rmtree(tmp_path / "out")
        with held(tmp_path / "out"):
            inside = sorted(path.name for path in (tmp_path / "out").iterdir())
            shutil.copytree(tmp_path / "out", tmp_path / "copy")
        shutil.move(tmp_path / "copy", tmp_path / "out2")
        shutil.rmtree(tmp_path / "out")
        shutil.move(tmp_path / "out2", tmp_path / "out")  # as if another held it now
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == inside


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.FileLock, "acquire", refused)
    with pytest.warns(UnlockedFolderWarning, match="No locks available"), held(tmp_path):
        pass
