"""What in the folder of an interrupted run is this package's own, and may be deleted by it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .folder_lock import LOCK_FILES, held
from .sealed_files import DamagedFileError, read_entries
from .whole_files import HALF_WRITTEN, write_whole

__all__ = [
    "BLOCK",
    "MAKER",
    "OLD_BLOCK",
    "STEP",
    "WARM_UP",
    "delete_checkpoint",
    "foreign_files",
    "held_checkpoint",
    "write_with_folder",
    "written_although_deleted",
]

#: Entry of the header of every file of a checkpoint.
MAKER = {"made by": "openmm_diffsampler"}

#: Names of the files of runs of chains, from draw to draw; those that earlier versions counted; the state of a warm-up.
BLOCK = re.compile(r"block-(\d{8,})-(\d{8,})\.safetensors")
OLD_BLOCK = re.compile(r"block-(\d{5,})\.safetensors")
WARM_UP = "warm-up.safetensors"
#: Names of the files of training runs: step, rank, processes.
STEP = re.compile(r"step-(\d{8,})\.(\d+)-of-(\d+)\.safetensors")

#: How often a file is written that vanishes with its folder, and seconds in between, while all of that is deleted.
_TRIES, _PAUSE = 5, 0.1

#: Of earlier versions.
_OLD_HALF_WRITTEN = re.compile(r"(block-\d{5,}|step-\d{8,}\.\d+-of-\d+)\.unfinished")
#: What headers of earlier versions hold, by entry.
_OLD_ENTRIES = {"run": {"settings", "numbers"}, "numbers": {"run", "training/step"}}


def foreign_files(folder: str | os.PathLike[str]) -> list[Path]:
    """What is in the folder of an interrupted run that is no part of the run: everything that cannot be proved its own.

    The name and the header of a file prove it; of one that is half-written, or a lock, the name does. Metrics are
    results, not parts of a checkpoint. A link is never followed, so that a folder which is one is foreign itself.

    Arguments:
        folder: of the checkpoint; it may be absent.

    Returns:
        Paths in order of their names.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "notes.txt").touch()
        ...     [path.name for path in foreign_files(folder)]
        ['notes.txt']
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return [folder]
    return sorted(path for path in folder.glob("*") if not _is_ours(path))


def delete_checkpoint(folder: str | os.PathLike[str]) -> list[Path]:
    """Delete what :func:`foreign_files` does not list, and the folder, if nothing is left in it.

    Arguments:
        folder: of the checkpoint; it may be absent.

    Returns:
        What is left, in order.

    Raises:
        FolderInUseError: a process that is running writes to it.
        OSError: something cannot be deleted.
    """
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        return foreign_files(folder)
    with held(folder):
        left = foreign_files(folder)
        for path in set(folder.glob("*")) - set(left):
            if path.name not in LOCK_FILES:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else's file came into it meanwhile
        folder.rmdir()
    return left


@contextmanager
def held_checkpoint(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder for a run, see :func:`held`; what runs that were killed left half-written there is deleted.

    A folder that was made here and stays empty is removed.

    Raises:
        FolderInUseError: another process or thread holds it.
        OSError: it cannot be made or written to.
    """
    folder = Path(folder)
    is_new = not folder.exists()
    try:
        with held(folder):
            for path in folder.glob("*"):
                if _is_half_written(path.name) and not path.is_symlink() and path.is_file():
                    path.unlink(missing_ok=True)
            yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def written_although_deleted(write: Callable[[], None]) -> None:
    """Call `write`, and again where somebody deletes the folder that it makes and writes to at the same moment.

    Raises:
        OSError: it cannot be written.
    """
    for _ in range(_TRIES):
        try:
            write()
            return
        except FileNotFoundError:
            time.sleep(_PAUSE)
    write()


def write_with_folder(path: Path, content: str) -> None:
    """Write a file whole, and its folder where there is none, whoever deletes that at the same moment.

    Raises:
        OSError: it cannot be written.
    """

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)

    written_although_deleted(write)


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    name = path.name
    return name in LOCK_FILES or _is_half_written(name) or (_is_name(name) and _has_our_header(path))


def _is_half_written(name: str) -> bool:
    half = HALF_WRITTEN.fullmatch(name)
    if half:
        return half["name"] in LOCK_FILES or _is_name(half["name"])
    return _OLD_HALF_WRITTEN.fullmatch(name) is not None


def _is_name(name: str) -> bool:
    return name == WARM_UP or any(pattern.fullmatch(name) for pattern in (BLOCK, OLD_BLOCK, STEP))


def _has_our_header(path: Path) -> bool:
    try:
        entries = read_entries(path)
    except (DamagedFileError, OSError):
        return False
    return MAKER.items() <= entries.items() or any(
        _has_keys(entries.get(name, ""), keys) for name, keys in _OLD_ENTRIES.items()
    )


def _has_keys(text: str, keys: set[str]) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and keys <= found.keys()
