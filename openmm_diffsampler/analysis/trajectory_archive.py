"""Sealed archives of arrays: .npz files that numpy reads, and that are read here only if they are what was written.

The comment at the end of the zip file is ``sha256 `` and the hash of every byte before the hash's digits. Arrays are
stored as they are, so that an archive never takes more memory than its file has bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from openmm_diffsampler._common.quoting import shortened, shown
from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning

__all__ = ["read_archive", "write_archive"]

_TAG = b"sha256 "
_DIGITS = 64
_FORMAT = 2
#: More entries, and longer metadata, than any archive of ours has.
_MOST_ENTRIES = 20
_LONGEST_METADATA = 1 << 20


def write_archive(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and metadata into a sealed archive; the same content gives the same bytes.

    Arguments:
        path: the file, which is replaced; write to a temporary name to replace it whole.
        arrays: by name, of numbers.
        metadata: entries of JSON.

    Raises:
        OSError: it cannot be written.
    """
    text = np.array(json.dumps({**metadata, "format": _FORMAT}))
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = _TAG + b"0" * _DIGITS
        for name, array in {"metadata": text, **arrays}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    with open(path, "rb+") as file:
        digest = _hash_before_digits(file)
        file.seek(-_DIGITS, os.SEEK_END)
        file.write(digest)


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of an archive that :func:`write_archive`, or an earlier version, wrote.

    Sizes are checked before memory is taken, and nothing in the file is run.

    Raises:
        DamagedFileError: it is no such archive, or was damaged or changed after it was written.

    Warns:
        UnsealedFileWarning: it is of an earlier version, without a checksum.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_archive(f"{folder}/a.npz", {"x": np.ones(2)}, {"what": "ones"})
        ...     read_archive(f"{folder}/a.npz")
        ({'x': array([1., 1.])}, {'what': 'ones'})
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            arrays, metadata, is_sealed = _unsealed(file)
        # Damaged archives and headers raise anything in zipfile, numpy and tokenize.
        except Exception as error:
            _refuse(path, error)
    if not is_sealed:
        warnings.warn(f"{path} is of an earlier version and has no checksum", UnsealedFileWarning, stacklevel=3)
    return arrays, metadata


def _refuse(path: Path, error: Exception) -> NoReturn:
    reason = shortened(str(error) or type(error).__name__)
    raise DamagedFileError(
        f"{path} is damaged or was not written by WeightedTrajectory.save ({reason}); restore it from a copy"
    ) from None


def _unsealed(file: IO[bytes]) -> tuple[dict[str, np.ndarray], dict[str, Any], bool]:
    """Arrays, metadata, and whether there was a checksum."""
    sealed = _seal_of(file)
    if sealed is not None and sealed != _hash_before_digits(file):
        raise ValueError("its checksum is that of another content")
    arrays = _arrays(file)
    metadata = _metadata(arrays.pop("metadata"))
    if metadata.pop("format", None) != (None if sealed is None else _FORMAT):
        raise ValueError("it has no checksum, or is of a later version")
    return arrays, metadata, sealed is not None


def _hash_before_digits(file: IO[bytes]) -> bytes:
    left = file.seek(0, os.SEEK_END) - _DIGITS
    file.seek(0)
    digest = hashlib.sha256()
    while left > 0 and (part := file.read(min(left, 1 << 20))):
        digest.update(part)
        left -= len(part)
    return digest.hexdigest().encode()


def _seal_of(file: IO[bytes]) -> bytes | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _DIGITS - len(_TAG)))
    end = file.read()
    return end[len(_TAG) :] if end.startswith(_TAG) else None


def _arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names) or len(names) > _MOST_ENTRIES:
            raise ValueError(f"it has the entries {shown(names)}")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its arrays are compressed, and those written here are not")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("its arrays are larger than the file")
        return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"its array {shown(entry.filename)} is of format {version}")
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        n_bytes = dtype.itemsize
        for length in shape:
            n_bytes *= length
        if dtype.kind not in "fiuU" or (is_fortran and len(shape) > 1) or any(n < 0 for n in shape):
            raise ValueError(f"its array {shown(entry.filename)} holds {dtype} in shape {shown(shape)}")
        if n_bytes != entry.file_size - file.tell():
            raise ValueError(f"its array {shown(entry.filename)} has shape {shown(shape)} and another size")
        content = bytearray(n_bytes)
        place = 0
        # An empty part, past the end, has zipfile compare the CRC of the entry.
        while part := file.read(1 << 20):
            content[place : place + len(part)] = part
            place += len(part)
        if place != n_bytes:
            raise ValueError(f"its array {shown(entry.filename)} is cut off")
    return np.frombuffer(content, dtype).reshape(shape)


def _metadata(array: np.ndarray) -> dict[str, Any]:
    if array.dtype.kind != "U" or array.shape != () or array.nbytes > 4 * _LONGEST_METADATA:
        raise ValueError("its metadata are no text")
    metadata = json.loads(str(array))
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are no entries")
    return metadata
