"""Files with a checksum of their content, which reading verifies.

A file of tensors is a safetensors file whose header has an entry ``sha256``: the hash of all bytes of the file, with
zeros where the hash itself stands. A JSON file has an entry ``"sha256"``: the hash of the other entries, sorted. Files
of earlier versions have none; they are read, and a note says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from .quoting import shortened
from .whole_files import write_whole

__all__ = [
    "DamagedFileError",
    "UnsealedFileWarning",
    "content_hash",
    "file_hash",
    "read_entries",
    "read_json",
    "read_tensors",
    "require_sealed",
    "seal",
    "sealed_json",
    "write_tensors",
]

_KEY = "sha256"
#: Letters of that name which may be damaged.
_FLIPS = 2
_BLANK = "0" * 64
#: Bytes of a file of tensors that are read into memory; a run of 10^5 atoms and 10^4 frames a block has fewer.
_LARGEST = 32 << 30
#: Bytes of the header of a file of tensors, and of a JSON file: far above any that is written here.
_LARGEST_HEADER = 64 << 20


class DamagedFileError(ValueError):
    """A file is not what was written."""


class UnsealedFileWarning(UserWarning):
    """A file of an earlier version, without a checksum: it was read, and nobody can tell whether it is whole."""


def content_hash(content: bytes | str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def file_hash(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _in_parts(file)


def _in_parts(file: Any) -> str:
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.hexdigest()


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], entries: Mapping[str, str]) -> str:
    """Write tensors and text entries as a sealed safetensors file, whole or not at all.

    Returns:
        The checksum of the file, its entry ``sha256``.

    Raises:
        OSError: it cannot be written; what was there stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_tensors(f"{folder}/a.safetensors", {"x": torch.ones(2)}, {"what": "ones"})
        ...     read_tensors(f"{folder}/a.safetensors")
        ({'x': tensor([1., 1.])}, {'what': 'ones'})
    """
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    blank = save(contiguous, {**entries, _KEY: _BLANK})
    place = _place(blank, _BLANK)
    if place is None:
        raise AssertionError("the safetensors library writes no header of its entries")
    digest = content_hash(blank)
    write_whole(path, blank[:place] + digest.encode() + blank[place + len(_BLANK) :])
    return digest


def read_entries(path: str | os.PathLike[str]) -> dict[str, str]:
    """Entries of a file of tensors, with the checksum where it has one; the tensors are not looked at.

    Raises:
        OSError: it cannot be read.
        DamagedFileError: it has no header.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(start := file.read(8), "little")
        return _entries(Path(path), start + file.read(min(size, _LARGEST_HEADER)))


def read_tensors(
    path: str | os.PathLike[str], whole: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and entries of a file that :func:`write_tensors` wrote, or of one of an earlier version.

    Arguments:
        path: the file.
        whole: SHA-256 of all of its bytes, where another file tells it; then it needs no checksum of its own.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no safetensors file, or not the one that was written.

    Warns:
        UnsealedFileWarning: it has no checksum.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > _LARGEST:
        raise DamagedFileError(f"{path} has {path.stat().st_size:,} bytes, more than any that is written here")
    content = path.read_bytes()
    if whole is not None and content_hash(content) != whole:
        raise DamagedFileError(f"{path} is damaged, or not the file that was written with those beside it")
    entries = _entries(path, content)
    sealed = entries.pop(_KEY, None)
    if sealed is None and whole is None:
        _require_no_broken_key(path, entries)
        warnings.warn(f"{path} is of an earlier version and has no checksum", UnsealedFileWarning, stacklevel=3)
    elif sealed is not None:
        place = _place(content, sealed)
        blank = None if place is None else content[:place] + _BLANK.encode() + content[place + len(_BLANK) :]
        if blank is None or content_hash(blank) != sealed:
            raise DamagedFileError(f"{path} is damaged (its checksum is that of another content)")
    try:
        return load(content), entries
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DamagedFileError(f"{path} is damaged ({shortened(error)})") from None


def _require_no_broken_key(path: Path, entries: Mapping[str, Any]) -> None:
    """Raise where the name of the checksum is damaged, which would make the file look like an earlier version's."""
    for key in entries:
        if len(key) == len(_KEY) and sum(a != b for a, b in zip(key, _KEY, strict=True)) <= _FLIPS:
            raise DamagedFileError(f"{path} is damaged (its checksum is called {shortened(key)})")


def _entries(path: Path, content: bytes) -> dict[str, str]:
    """Text entries of the header."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(len(content) - 8, _LARGEST_HEADER):
        raise DamagedFileError(f"{path} is damaged (it is cut off, or no safetensors file)")
    header = _parsed(path, content[8 : 8 + size])
    entries = header.get("__metadata__", {})
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise DamagedFileError(f"{path} is damaged (its header has entries that are no text)")
    return entries


def _place(content: bytes, digest: str) -> int | None:
    """Where the digest stands in the header of a file of tensors."""
    size = int.from_bytes(content[:8], "little")
    found = content.find(f'"{_KEY}":"{digest}"'.encode(), 8, 8 + size)
    return None if found < 0 or len(digest) != len(_BLANK) else found + len(_KEY) + 4


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({shortened(error)})") from None
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged (it holds {type(found).__name__}, not entries)")
    return found


def sealed_json(entries: Mapping[str, Any], indent: int | None = 2) -> str:
    """Text of a JSON file of `entries`, with the checksum of them as the last one; on one line without `indent`.

    Example:
        >>> print(sealed_json({"a": 1}), end="")
        {
          "a": 1,
          "sha256": "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        }
    """
    return json.dumps(seal(entries), indent=indent) + "\n"


def seal(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries and, as the last one, their checksum."""
    return {**entries, _KEY: _json_hash(entries)}


def _json_hash(entries: Mapping[str, Any]) -> str:
    # As a reader will find them: keys are text, numbers as JSON has them.
    same = json.loads(json.dumps(entries))
    return content_hash(json.dumps(same, sort_keys=True, separators=(",", ":")))


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Entries of a JSON file, verified where it is sealed.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is no JSON file, or was changed after it was written.

    Warns:
        UnsealedFileWarning: it has no checksum.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > _LARGEST_HEADER:
        raise DamagedFileError(f"{path} has {path.stat().st_size:,} bytes, more than any that is written here")
    return require_sealed(path, _parsed(path, path.read_bytes()))


def require_sealed(path: str | os.PathLike[str], entries: dict[str, Any]) -> dict[str, Any]:
    """The entries without their checksum, once it is found to be theirs; errors as of :func:`read_json`."""
    entries = dict(entries)
    sealed = entries.pop(_KEY, None)
    if sealed is None:
        _require_no_broken_key(Path(path), entries)
        warnings.warn(f"{path} is of an earlier version and has no checksum", UnsealedFileWarning, stacklevel=3)
    elif sealed != _json_hash(entries):
        raise DamagedFileError(
            f"{path} was damaged or changed after it was written; restore it, or, if the change is meant, delete its "
            f"entry {_KEY!r}"
        )
    return entries
