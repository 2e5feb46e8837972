"""Frames on disk: full disks, paths in any letters, and files that crash their readers."""

import errno
import importlib.util
import os
import random
import subprocess
import sys

import mdtraj as md
import numpy as np
import pytest
import torch

from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler.analysis import WeightedTrajectory, frame_files, frames_in_child, trajectory_files
from openmm_diffsampler.analysis.frames_in_child import read_in_child

needs_tables = pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="tables is not installed")
FORMATS = [pytest.param(s, marks=needs_tables) if s == ".h5" else s for s in trajectory_files.SUFFIXES]

#: Saves a small trajectory over a good one where files may have so many bytes, with a system call that fails as on a
#: full disk; in a process of its own, which the limit holds for.
ON_A_FULL_DISK = """
import resource, sys
import mdtraj, torch
from openmm_diffsampler.analysis import WeightedTrajectory
topology = mdtraj.Topology()
residue = topology.add_residue("LIG", topology.add_chain())
for i in range(50):
    topology.add_atom(f"C{i}", mdtraj.element.carbon, residue)
x = torch.randn(100, 50, 3, generator=torch.Generator().manual_seed(0))
wt = WeightedTrajectory(x, torch.zeros(100), kind="importance", topology=topology)
for suffix in sys.argv[1:]:
    wt[:2].save(f"a{suffix}")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, limits[1]))
    try:
        wt.save(f"a{suffix}")
    except OSError as error:
        print(suffix, "OSError", error.errno is not None, f"a{suffix}" in str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    print(suffix, "then", len(WeightedTrajectory.load(f"a{suffix}")), "frames", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is needed")
def test_full_disk(tmp_path):
    """An OSError with the name of the file, in every format, and what was there before is read as before."""
    suffixes = [s for s in trajectory_files.SUFFIXES if s != ".h5" or importlib.util.find_spec("tables") is not None]
    command = [sys.executable, "-c", ON_A_FULL_DISK, *suffixes]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if line.startswith(".")]
    assert found == [line for s in suffixes for line in (f"{s} OSError True True", f"{s} then 2 frames")]
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_writers_that_raise_anything(weighted_dipeptide, tmp_path, monkeypatch):
    """mdtraj's writer of .dcd raises a TypeError where the disk is full; the reason is not the coordinates."""
    weighted_dipeptide.save(tmp_path / "a.dcd")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for error in (TypeError("'dict' object is not callable"), RuntimeError("write error: 7")):
        monkeypatch.setattr(md.Trajectory, "save", lambda *_, e=error: (_ for _ in ()).throw(e))
        with pytest.raises(OSError, match=r"is there room on the disk\?: .*a\.dcd") as found:
            weighted_dipeptide[:5].save(tmp_path / "a.dcd")
        assert "coordinates" not in str(found.value)
    monkeypatch.setattr(md.Trajectory, "save", lambda *_: None)
    with pytest.raises(OSError, match=r"is there room on the disk\?"):
        weighted_dipeptide[:5].save(tmp_path / "a.dcd")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_are_replaced_and_not_followed(weighted_dipeptide, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("kept")
    for name in ("a.dcd", "a.weights.npz", "a.topology.pdb"):
        (tmp_path / name).symlink_to(theirs)
    weighted_dipeptide.save(tmp_path / "a.dcd")
    assert theirs.read_text() == "kept" and len(WeightedTrajectory.load(tmp_path / "a.dcd")) == 40


@pytest.mark.parametrize("suffix", FORMATS)
def test_paths_in_any_letters(weighted_dipeptide, tmp_path, suffix):
    folder = tmp_path / "müller 山"
    folder.mkdir()
    path = folder / f"péptide{suffix}"
    weighted_dipeptide.save(path, plumed=True)
    names = {f"péptide{ending}" for ending in (suffix, ".topology.pdb", ".colvar")}
    names |= set() if suffix == ".npz" else {"péptide.weights.npz"}
    assert {p.name for p in folder.iterdir()} == names
    assert WeightedTrajectory.load(path).x == pytest.approx(weighted_dipeptide.x, abs=6e-4)


def test_paths_in_any_letters_without_links(weighted_dipeptide, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_files.Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError("no privilege")))
    for suffix in (".dcd", ".xtc", ".trr"):
        weighted_dipeptide.save(tmp_path / f"é{suffix}")
        assert WeightedTrajectory.load(tmp_path / f"é{suffix}").x == pytest.approx(weighted_dipeptide.x, abs=6e-4)


def test_no_folder_for_links(weighted_dipeptide, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_files.tempfile, "gettempdir", lambda: str(tmp_path / "é"))
    monkeypatch.setattr(frame_files, "_FOLDERS", ())
    with pytest.raises(OSError, match=r"letters outside ASCII.*set TMPDIR.*é\.dcd"):
        weighted_dipeptide.save(tmp_path / "é.dcd")


def test_frames_saved_again_by_other_programs_are_read(weighted_dipeptide, tmp_path):
    """Other bytes and the same frames are the same trajectory, as when a program has changed the title."""
    weighted_dipeptide.save(tmp_path / "a.dcd")
    data = bytearray((tmp_path / "a.dcd").read_bytes())
    place = data.index(b"Created")
    data[place : place + 7] = b"Changed"
    (tmp_path / "a.dcd").write_bytes(data)
    assert WeightedTrajectory.load(tmp_path / "a.dcd").x == pytest.approx(weighted_dipeptide.x, abs=1e-6)


@pytest.mark.parametrize("suffix", [s for s in FORMATS if s != ".npz"])
def test_formats_are_read_in_a_process_of_their_own(weighted_dipeptide, tmp_path, suffix):
    weighted_dipeptide.save(tmp_path / f"a{suffix}")
    expected = md.load(
        str(tmp_path / f"a{suffix}"), **({} if suffix == ".h5" else {"top": weighted_dipeptide.topology})
    )
    assert np.array_equal(read_in_child(tmp_path / f"a{suffix}", (40, 22, 3)), expected.xyz)
    with pytest.raises(ValueError, match="frames of shape"):
        read_in_child(tmp_path / f"a{suffix}", (41, 22, 3))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.kill(os.getpid(), 11)", "its parser crashed with status -11"),
        ("import time; time.sleep(60)", "its parser did not end"),
        ("raise SystemExit(3)", "its parser crashed with status 3"),
        ("import os; os.write(1, b'frames' + bytes(99))", "its parser crashed"),
        ("import os; os.write(1, b'error: ' + b'x' * 300)", "xxx"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_parsers_that_crash_or_hang(weighted_dipeptide, tmp_path, monkeypatch, code, reason):
    weighted_dipeptide.save(tmp_path / "a.xtc")
    (tmp_path / "a.xtc").write_bytes((tmp_path / "a.xtc").read_bytes() + b"more")
    monkeypatch.setattr(frames_in_child, "_CODE", code)
    monkeypatch.setattr(frames_in_child, "_SECONDS", 1)
    with pytest.raises(ValueError, match=rf"a\.xtc cannot be read as 40 frames of 22 atoms in \.xtc format: {reason}"):
        WeightedTrajectory.load(tmp_path / "a.xtc")


def test_damaged_frames(weighted_dipeptide, tmp_path):
    """Bytes of an .xtc file that had crashed this process: the frames come back as they were, or not at all."""
    path, rng = tmp_path / "a.xtc", random.Random(0)
    weighted_dipeptide[:5].save(path)
    data, x = path.read_bytes(), WeightedTrajectory.load(path).x
    for place in (4, 52, 88, rng.randrange(92, len(data))):
        damaged = bytearray(data)
        damaged[place : place + 4] = b"\x7f\xff\xff\xff"
        path.write_bytes(damaged)
        try:
            assert torch.equal(WeightedTrajectory.load(path).x, x)
        except ValueError as error:
            assert str(path) in str(error)


@needs_tables
def test_hdf5_runs_no_code(tmp_path):
    """Attributes and arrays of PyTables are pickles; nothing in them is run."""
    import tables

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    with tables.open_file(str(tmp_path / "a.h5"), "w") as file:
        file.root._v_attrs.conventions = Payload()
        file.create_vlarray("/", "topology", atom=tables.ObjectAtom()).append(Payload())
        file.create_array("/", "coordinates", np.zeros((2, 3, 3), np.float32))
    with pytest.raises(ValueError):
        read_in_child(tmp_path / "a.h5", (2, 3, 3))
    assert not (tmp_path / "ran").exists()


def test_errors_name_the_file(weighted_dipeptide, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing/a\.dcd") as error:
        weighted_dipeptide.save(tmp_path / "missing" / "a.dcd")
    assert error.value.errno == errno.ENOENT
    (tmp_path / "b.dcd").mkdir()
    with pytest.raises(FileNotFoundError, match=r"b\.dcd is no file"):
        WeightedTrajectory.load(tmp_path / "b.dcd")
    weighted_dipeptide.save(tmp_path / "a.dcd")
    (tmp_path / "a.weights.npz").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"a\.weights\.npz"):
        WeightedTrajectory.load(tmp_path / "a.dcd")
