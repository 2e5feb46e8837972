"""Nested states on disk: tensors as safetensors, plain numbers as JSON in their header, each file whole or absent."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

__all__ = ["DamagedFileError", "load_state", "save_state"]

_SEPARATOR = "/"


class DamagedFileError(ValueError):
    """A file that is not what :func:`save_state` wrote."""


def save_state(path, state):
    """Write a dict of tensors, plain values and dicts of the same; a reader sees the old file or the new one.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_state(f"{folder}/a.safetensors", {"step": 3, "model": {"w": torch.ones(2)}})
        ...     load_state(f"{folder}/a.safetensors")
        {'step': 3, 'model': {'w': tensor([1., 1.])}}
    """
    path = Path(path)
    tensors, numbers = {}, {}
    _flatten(state, (), tensors, numbers)
    unfinished = path.with_suffix(".unfinished")
    with open(unfinished, "wb") as file:
        file.write(save(tensors, {"numbers": json.dumps(numbers)}))
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _flatten(state, prefix, tensors, numbers):
    for name, value in state.items():
        key = _SEPARATOR.join((*prefix, str(name)))
        if isinstance(value, dict) and value:
            _flatten(value, (*prefix, str(name)), tensors, numbers)
        elif isinstance(value, torch.Tensor):
            tensors[key] = value.detach().cpu().contiguous().clone()
        else:
            numbers[key] = value


def load_state(path):
    """What :func:`save_state` wrote, tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            flat = json.loads(file.metadata()["numbers"])
            flat |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged ({error})") from None
    state = {}
    for key, value in flat.items():
        *outer, name = key.split(_SEPARATOR)
        inside = state
        for part in outer:
            inside = inside.setdefault(part, {})
        inside[name] = value
    return state
