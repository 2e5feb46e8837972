"""Frames in files of mdtraj's formats: a write that fails is told, and no file ends the process that reads it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from openmm_diffsampler._common.quoting import shortened

from .dihedrals import in_space
from .frames_in_child import read_in_child
from .pdb_topology import fitting_topology

if TYPE_CHECKING:
    import mdtraj
    import torch

__all__ = ["fingerprint", "read_frames", "write_frames"]

#: Formats that hold names of atoms, which they have to have room for.
_WITH_NAMES = (".pdb", ".cif", ".gro", ".xyz")
#: nm that every format has room for.
_SMALL = 90
#: Folders for links, where that of temporary files has a name that mdtraj cannot take.
_FOLDERS = ("/tmp", "/var/tmp", "C:\\Users\\Public", "C:\\Windows\\Temp")


def write_frames(path: Path, x: torch.Tensor, topology: mdtraj.Topology) -> np.ndarray:
    """Write frames and return them as a reader will see them, that is, with the rounding of the format.

    Arguments:
        path: an existing file that is written to; its suffix chooses the format.
        x: (n, n_atoms, 3 or 2) in nm.
        topology: of mdtraj.

    Returns:
        (n, n_atoms, 3) float32 in nm.

    Raises:
        ValueError: the format has no room for the coordinates.
        OSError: the file cannot be written, as on a full disk.
    """
    import mdtraj

    xyz = in_space(x)
    if path.suffix in _WITH_NAMES:
        topology = fitting_topology(topology)
    largest = float(np.abs(xyz).max())
    if path.suffix == ".nc":
        _require_room(path, xyz.nbytes + 32 * len(xyz) + (1 << 16))
    try:
        with _ascii_alias(path, is_written=True) as alias:
            mdtraj.Trajectory(xyz, topology).save(str(alias))
            frames = _read(alias, topology)
        # The .xtc writer drops or garbles what overflows, without an error.
        if frames.shape != xyz.shape or not np.allclose(frames, xyz, rtol=1e-4, atol=1e-3):
            raise ValueError("what was read back differs from what was written")
        return frames
    # The writers of mdtraj raise anything on a full disk, a TypeError included.
    except Exception as error:
        # Errors of the system have a number, and those that readers of mdtraj raise by this name have none.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        if largest < _SMALL:
            raise OSError(
                errno.EIO,
                f"frames could not be written ({shortened(error)}); is there room on the disk?",
                str(path),
            ) from error
        raise ValueError(
            f"{path.suffix} cannot hold these coordinates, the largest of which is {largest:.4g} nm; "
            f".dcd, .nc and .npz have no such limit: {shortened(error)}"
        ) from error


def read_frames(path: Path, n_frames: int, topology: mdtraj.Topology, is_known: bool) -> np.ndarray:
    """(n, n_atoms, 3) float32 in nm.

    Arguments:
        path: the file.
        n_frames: how many there should be.
        topology: of mdtraj.
        is_known: whether every byte of the file is as it was written here. Others are read in a process of its own,
            since libraries that read trajectories crash on damaged ones.

    Raises:
        ValueError: it cannot be read.
    """
    with _ascii_alias(path, is_written=False) as alias:
        try:
            # Reading an .h5 file can run what is in it, and only a process of its own can be kept from that.
            if is_known and path.suffix != ".h5":
                return _read(alias, fitting_topology(topology) if path.suffix in _WITH_NAMES else topology)
            return read_in_child(alias, (n_frames, topology.n_atoms, 3))
        # The readers of mdtraj raise anything for a damaged file, a bare Exception included.
        except Exception as error:
            raise ValueError(
                f"{path} cannot be read as {n_frames} frames of {topology.n_atoms} atoms in {path.suffix} format: "
                f"{shortened(error)}"
            ) from None


def fingerprint(frames: np.ndarray) -> str:
    """SHA-256 of coordinates, their shape and their precision."""
    frames = np.ascontiguousarray(frames)
    digest = hashlib.sha256(f"{frames.shape} {frames.dtype}".encode())
    digest.update(frames.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _read(path: Path, topology: mdtraj.Topology) -> np.ndarray:
    import mdtraj

    return mdtraj.load(str(path), **({} if path.suffix == ".h5" else {"top": topology})).xyz


def _require_room(path: Path, n_bytes: int) -> None:
    """The NetCDF library ends the process when the disk is full while it writes, so ask for the room before."""
    if not hasattr(os, "posix_fallocate"):
        if shutil.disk_usage(path.parent).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return
    with open(path, "rb+") as file:
        os.posix_fallocate(file.fileno(), 0, n_bytes)
        file.truncate(0)


@contextmanager
def _ascii_alias(path: Path, is_written: bool) -> Iterator[Path]:
    """The path, or another one for the same file in letters that the libraries below mdtraj can take."""
    if str(path).isascii():
        yield path
        return
    folders = [f for f in (tempfile.gettempdir(), *_FOLDERS) if f.isascii() and os.access(f, os.W_OK)]
    if not folders:
        raise OSError(
            errno.EINVAL,
            "the path has letters outside ASCII, and so has that of temporary files; set TMPDIR to a folder without",
            str(path),
        )
    with tempfile.TemporaryDirectory(dir=folders[0]) as folder:
        alias = Path(folder, f"frames{path.suffix}")
        try:
            alias.symlink_to(path.absolute())
        except OSError:  # a system, or a user, without links
            shutil.copyfile(path, alias)
        yield alias
        if is_written and not alias.is_symlink():
            shutil.copyfile(alias, path)
