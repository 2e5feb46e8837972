"""What the weights file of a trajectory may hold: every entry with its type, shape and range."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from openmm_diffsampler._common.quoting import shown

from .estimates import KINDS

__all__ = ["ARRAYS", "checked_fields"]

#: Arrays with one number a frame, and the kinds of numbers.
ARRAYS = {"log_weights": "f", "reduced_potential": "f", "log_q": "f", "chain": "i", "draw": "i"}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e300


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) < 32 and all(type(n) is int and 0 < n < 1 << 40 for n in value)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


#: Entries of every version.
_FIRST = {
    "kind": lambda value: value in KINDS,
    "event_shape": _is_shape,
    "frames_file": lambda value: isinstance(value, str),
    "has_topology": lambda value: type(value) is bool,
    "source_effective_sample_size": _or_none(_is_number),
    "temperature": _or_none(_is_number),
    "fingerprint": _is_hash,
}
#: Hashes of the files beside, since there are checksums.
_LATER = {"frames_hash": _or_none(_is_hash), "topology_hash": _or_none(_is_hash)}


def checked_fields(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any], has_frames: bool) -> None:
    """Refuse what no trajectory has.

    Arguments:
        arrays: by name, those of the archive.
        metadata: its entries.
        has_frames: whether the frames ``x`` are in the archive, or in a file beside it.

    Raises:
        ValueError: an entry is missing, foreign, or no possible value.
    """
    known = _FIRST | (_LATER if set(metadata) & set(_LATER) else {})
    if set(metadata) != set(known):
        raise ValueError(f"its metadata have the entries {shown(sorted(metadata))}; expected are {', '.join(known)}")
    for name, is_possible in known.items():
        if not is_possible(metadata[name]):
            raise ValueError(f"its entry {name} is {shown(metadata[name])}")
    needed = {"log_weights"} | ({"x"} if has_frames else set())
    possible = {*ARRAYS, "topology"} | needed
    if not needed <= set(arrays) <= possible:
        raise ValueError(f"it has the arrays {shown(sorted(arrays))}; possible are {', '.join(sorted(possible))}")
    shape = arrays["log_weights"].shape
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"its log_weights have shape {shape}")
    for name, kind in ARRAYS.items():
        if name in arrays and (arrays[name].shape != shape or arrays[name].dtype != np.dtype(f"{kind}8")):
            raise ValueError(f"its {name} has shape {arrays[name].shape} of {arrays[name].dtype} for {shape[0]} frames")
    event_shape = tuple(metadata["event_shape"])
    has_particles = len(event_shape) == 2 and event_shape[1] in (2, 3)
    needs_particles = metadata["has_topology"] or not has_frames
    if (needs_particles and not has_particles) or not (metadata["has_topology"] or has_frames):
        raise ValueError(f"its configurations of shape {event_shape} are no atoms in space")
    if has_frames and (arrays["x"].dtype.kind != "f" or arrays["x"].shape != shape + event_shape):
        raise ValueError(f"its x has shape {arrays['x'].shape} of {arrays['x'].dtype} for {shape[0]} frames")
    if "topology" in arrays and (arrays["topology"].ndim != 1 or arrays["topology"].dtype != np.uint8):
        raise ValueError("its topology is no text")
