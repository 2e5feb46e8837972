"""Nested states on disk: tensors as safetensors, plain numbers as JSON in their header, each file whole and sealed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from openmm_diffsampler._common.checkpoint_folders import MAKER
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError, read_tensors, write_tensors

__all__ = ["DamagedFileError", "load_state", "save_state"]

_SEPARATOR = "/"
_NUMBERS = "numbers"


def save_state(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a dict of tensors, plain values and dicts of the same; a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written; what was there stays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state(f"{folder}/a.safetensors", {"step": 3, "model": {"w": torch.ones(2)}})
        ...     load_state(f"{folder}/a.safetensors")
        {'step': 3, 'model': {'w': tensor([1., 1.])}}
    """
    tensors: dict[str, torch.Tensor] = {}
    numbers: dict[str, Any] = {}
    _flatten(state, (), tensors, numbers)
    write_tensors(path, tensors, {_NUMBERS: json.dumps(numbers), **MAKER})


def _flatten(
    state: dict[str, Any], prefix: tuple[str, ...], tensors: dict[str, torch.Tensor], numbers: dict[str, Any]
) -> None:
    for name, value in state.items():
        key = _SEPARATOR.join((*prefix, str(name)))
        if isinstance(value, dict) and value:
            _flatten(value, (*prefix, str(name)), tensors, numbers)
        elif isinstance(value, torch.Tensor):
            tensors[key] = value
        else:
            numbers[key] = value


def load_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What :func:`save_state` wrote, tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not what was written.

    Warns:
        UnsealedFileWarning: it is of an earlier version, which wrote no checksum.
    """
    path = Path(path)
    tensors, entries = read_tensors(path)
    try:
        numbers = json.loads(entries[_NUMBERS])
    except (KeyError, ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged (its numbers: {shortened(error)})") from None
    if not isinstance(numbers, dict) or numbers.keys() & tensors.keys():
        raise DamagedFileError(f"{path} is damaged (its numbers are not those of a state)")
    state: dict[str, Any] = {}
    for key, value in {**numbers, **tensors}.items():
        *outer, name = key.split(_SEPARATOR)
        inside = state
        for part in outer:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                break
        if not isinstance(inside, dict) or name in inside:
            raise DamagedFileError(f"{path} is damaged (it has both {shortened(key)!r} and a part of it)")
        inside[name] = value
    return state
