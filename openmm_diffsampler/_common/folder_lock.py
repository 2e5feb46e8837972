"""A folder that one process writes to."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .quoting import shortened
from .whole_files import write_whole

__all__ = ["LOCK_FILES", "FolderInUseError", "UnlockedFolderWarning", "held"]

#: The lock, and who holds it.
LOCK_FILES = _LOCK, _HOLDER = ".in-use.lock", ".in-use.json"


#: What file systems without locks say, such as NFS without its lock daemon.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class UnlockedFolderWarning(UserWarning):
    """The folder cannot be locked, so that nothing keeps a second process out of it."""


class FolderInUseError(OSError):
    """Another process, or another thread of this one, writes to the folder."""


@contextmanager
def held(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Make the folder if it is absent, and keep everybody else who asks for it out of it until the block ends.

    The operating system lets go of the lock when the process ends, however it ends. A file beside the lock says who
    holds it.

    Raises:
        FolderInUseError: somebody else holds it; the message says who.

    Warns:
        UnlockedFolderWarning: the file system has no locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, held(folder):
        ...     try:
        ...         with held(folder):
        ...             pass
        ...     except FolderInUseError as error:
        ...         print(" is in use by process " in str(error))
        True
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / _LOCK), folder / _HOLDER
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where it falls back on the existence of a file
            lock.acquire(timeout=0)
    except Timeout:
        raise FolderInUseError(
            f"{folder} is in use by {_holder(holder)}; wait for it to end, or choose another folder. If it has ended, "
            f"on a machine that has been switched off, delete {folder / _LOCK}"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"the file system of {folder} cannot lock files ({error.strerror}): make sure that one process alone "
            "writes to it",
            UnlockedFolderWarning,
            stacklevel=4,
        )
        yield
        return
    ours = _inode(folder / _LOCK)
    try:
        us = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_whole(holder, json.dumps(us) + "\n")
        yield
    finally:
        # Or the folder was deleted and made anew, and the lock in it is another's.
        if ours is None or _inode(folder / _LOCK) == ours:
            for path in (holder, folder / _LOCK):
                with contextlib.suppress(OSError):  # a folder that may not be written to any more, or is no folder
                    path.unlink(missing_ok=True)
        lock.release()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _holder(path: Path) -> str:
    try:
        them = json.loads(path.read_text(encoding="utf-8"))
        return shortened(f"process {them['process']} on {them['host']} since {them['since']}")
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
