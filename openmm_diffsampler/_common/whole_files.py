"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["HALF_WRITTEN", "UNFINISHED", "delete_unfinished", "write_whole", "written_whole"]

#: How names of files end that are being written.
UNFINISHED = ".unfinished"
#: Names of them, as they are made here.
HALF_WRITTEN = re.compile(rf"\.(?P<name>.+)\.[a-z0-9_]{{8}}{re.escape(UNFINISHED)}(\.\w+)?")


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new file beside `path` to write to, which takes the place of `path` once the block ends without an error.

    A reader sees the old file or the new one. The new file has a name that nobody else can foresee and is made by the
    system call that refuses an existing one, so that no link that somebody left there is followed.

    Arguments:
        path: the file that is replaced.

    Yields:
        The path to write to, an empty file with the suffix of `path`.

    Raises:
        OSError: it cannot be written; the error has the name of `path`, and what was there stays.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with written_whole(f"{folder}/a.txt") as unfinished:
        ...         _ = unfinished.write_text("whole")
        ...     Path(folder, "a.txt").read_text(), len(os.listdir(folder))
        ('whole', 1)
    """
    path = Path(path)
    unfinished = None
    try:
        # The suffix stays last, since writers of trajectories go by it.
        handle, name = tempfile.mkstemp(suffix=f"{UNFINISHED}{path.suffix}", prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        yield unfinished
        _make_as_open_would(unfinished)
        _sync(unfinished)
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno is None or not _is_of(error, unfinished, path):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        if unfinished is not None:
            with contextlib.suppress(OSError):  # a folder that may not be written to any more
                unfinished.unlink(missing_ok=True)


def _is_of(error: OSError, unfinished: Path | None, path: Path) -> bool:
    """Whether the error is about the file at hand, and not about another one that the block uses."""
    if error.filename is None or unfinished is None:
        return True
    return os.fspath(error.filename) in (str(unfinished), str(path))


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file whole; text as UTF-8 with plain line ends."""
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def delete_unfinished(folder: str | os.PathLike[str]) -> None:
    """Delete what processes that were killed left half-written in `folder`, which nobody else may be writing to."""
    for path in Path(folder).glob(f".*{UNFINISHED}*"):
        if HALF_WRITTEN.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def _make_as_open_would(path: Path) -> None:
    """Give a private temporary file the permissions that open() gives a new one."""
    path.chmod(0o666 & ~_umask())


def _umask() -> int:
    """That of the process; Linux tells it without changing it for other threads."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration, ValueError, IndexError):
        mask = os.umask(0)
        os.umask(mask)
        return mask


def _sync(path: Path) -> None:
    """Have the content on the disk before the name points to it."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
