"""A folder of files that nobody else can have written: for what is run, and not just read."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .quoting import shown
from .whole_files import UNFINISHED

__all__ = ["NotPrivateError", "PrivateFolder"]

#: Write permissions of anybody but the owner.
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLLOWS_NOTHING = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
#: Whether files are opened by their folder's handle, so that nobody can put another folder in its place meanwhile.
_BY_HANDLE = {os.open, os.rename, os.unlink, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd
#: Seconds after which a half-written file is no longer somebody's who still writes.
_ABANDONED = 86_400


class NotPrivateError(OSError):
    """Others own the folder or a file in it, or can write to it."""


class PrivateFolder:
    """Files in a folder of the user's own, which are read only if no other user can have written them.

    The folder is made with all permissions for the user and none for others, and so are the files. Who owns what is
    asked where the system knows owners (not on Windows).

    Arguments:
        path: of the folder, made where it is absent.
        names: regular expression of the names of its files. Of a folder of the user's that holds nothing else others'
            permission to write is taken away; another one that others can write to is refused.

    Raises:
        NotPrivateError: the folder is somebody else's, or others can write to it.
        OSError: it cannot be made or read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     with PrivateFolder(Path(parent) / "mine", "[ab]").opened() as folder:
        ...         folder.write("a", b"content")
        ...         folder.read("a"), folder.read("b")
        (b'content', None)
    """

    def __init__(self, path: str | os.PathLike[str], names: str) -> None:
        self.path, self.names, self._handle = Path(path), names, None

    @contextmanager
    def opened(self) -> Iterator[PrivateFolder]:
        """This folder, found to be private."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _BY_HANDLE:
            self._require_private(os.stat(self.path), self.path)
            yield self
            return
        self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.fstat(self._handle)
            if found.st_uid == os.geteuid() and found.st_mode & _OTHERS_WRITE and self._is_ours_alone():
                os.fchmod(self._handle, 0o700)
                found = os.fstat(self._handle)
            self._require_private(found, self.path)
            yield self
        finally:
            os.close(self._handle)
            self._handle = None

    def _is_ours_alone(self) -> bool:
        with os.scandir(self._handle) as entries:
            return all(re.fullmatch(rf"\.?(?:{self.names})(?:\..*)?", entry.name) for entry in entries)

    def _require_private(self, found: os.stat_result, path: Path) -> None:
        if not hasattr(os, "geteuid"):
            return
        if found.st_uid != os.geteuid():
            raise NotPrivateError(f"{shown(str(path))} belongs to user {found.st_uid}, and we are user {os.geteuid()}")
        if found.st_mode & _OTHERS_WRITE:
            raise NotPrivateError(f"others can write to {shown(str(path))}; take that away with chmod go-w")

    def _at(self, name: str) -> dict[str, int | str]:
        """Arguments of the functions of os for a file in the folder."""
        return {"path": name, "dir_fd": self._handle} if _BY_HANDLE else {"path": str(self.path / name)}

    def read(self, name: str) -> bytes | None:
        """Content of a file, which then counts as used; None where it is not there.

        Raises:
            NotPrivateError: it is no plain file, somebody else's, or others can write to it.
        """
        try:
            handle = os.open(**self._at(name), flags=os.O_RDONLY | _FOLLOWS_NOTHING)
        except FileNotFoundError:
            return None
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:  # another name may be somebody else's
                raise NotPrivateError(f"{shown(str(self.path / name))} is a link or no plain file")
            self._require_private(found, self.path / name)
            content = file.read()
            if os.utime in os.supports_fd:
                os.utime(handle)
            return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all; a reader sees the old one or the new one."""
        unfinished = f".{name}.{secrets.token_hex(8)}{UNFINISHED}"
        handle = os.open(
            **self._at(unfinished), flags=os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FOLLOWS_NOTHING, mode=0o600
        )
        try:
            with open(handle, "wb") as file:
                file.write(content)
            if _BY_HANDLE:
                os.rename(unfinished, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
            else:
                os.replace(self.path / unfinished, self.path / name)
        except BaseException:
            self._delete(unfinished)
            raise

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(**self._at(name))

    def keep_below(self, most: int) -> None:
        """Delete the files that were not used for longest until those there are have `most` bytes together.

        Half-written ones go too, once a day has passed.
        """
        kept, now = [], time.time()
        half_written = rf"\.(?:{self.names})\.[0-9a-f]+{UNFINISHED}"
        with os.scandir(self._handle if _BY_HANDLE else self.path) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and re.fullmatch(self.names, entry.name):
                    kept.append((found.st_mtime, found.st_size, entry.name))
                elif re.fullmatch(half_written, entry.name) and now - found.st_mtime > _ABANDONED:
                    self._delete(entry.name)
        total = sum(size for _, size, _ in kept)
        for _, size, name in sorted(kept):
            if total <= most:
                break
            self._delete(name)
            total -= size
