"""``sampler.json``: settings of a trained sampler and how its weights came about, sealed, read and checked."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from openmm_diffsampler._common.quoting import shortened, shown
from openmm_diffsampler._common.sealed_files import DamagedFileError, read_json

from .settings import LARGEST_NUMBER

__all__ = ["DESCRIPTION", "FORMAT", "description"]

FORMAT = 1
DESCRIPTION = "sampler.json"
#: Numbers of a shape, and how large they may be.
_MOST_AXES, _LONGEST_AXIS = 8, 10**9
_LONGEST_TEXT = 10_000


def description(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What :meth:`Sampler.save` wrote about the sampler in `folder`, checked.

    Raises:
        FileNotFoundError: there is none.
        DamagedFileError: it is not what was written, or of another format; a ValueError.

    Warns:
        UnsealedFileWarning: it is of an earlier version, which wrote no checksum.

    Example:
        >>> from openmm_diffsampler.samplers.sampler_files import pretrained_folder
        >>> description(pretrained_folder("gmm40", "idem"))["training"]["n_steps"]
        12000
    """
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; save() writes it")
    try:
        saved = read_json(path)
    except (RecursionError, OverflowError, OSError) as error:
        raise DamagedFileError(f"{path} is damaged ({shortened(error)})") from None
    version = saved.get("format")
    if version != FORMAT or isinstance(version, bool):
        raise DamagedFileError(f"{path} has format {shown(version)}, and this version reads format {FORMAT}")
    for name, (is_fit, wanted, *fallback) in _ENTRIES.items():
        found = saved
        for key in name.split("/"):
            found = found.get(key, *fallback) if isinstance(found, dict) else None
        if not is_fit(found):
            raise DamagedFileError(
                f"{path} is damaged: {name.replace('/', ', ')} is {shown(found)}, and should be {wanted}; restore the "
                "folder, or train again"
            )
    return saved


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_NUMBER


def _is_seed(value: object) -> bool:
    return type(value) is int and -LARGEST_NUMBER <= value <= LARGEST_NUMBER


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12 and math.isfinite(value)


def _is_shape(value: object) -> bool:
    is_short = isinstance(value, list) and len(value) <= _MOST_AXES
    return is_short and all(type(n) is int and 0 < n <= _LONGEST_AXIS for n in value)


def _are_settings(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, int | float | str | None) for v in value.values())


def _are_hashes(value: object) -> bool:
    return value is None or (isinstance(value, dict) and all(_is_hash(v) for v in value.values()))


def _is_system(value: object) -> bool:
    if value is None:
        return True
    flags = [value.get("topology"), value.get("positions")] if isinstance(value, dict) else [None]
    return all(isinstance(flag, bool) for flag in flags)


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64


#: Entry, below others after a slash → whether a value is fit, what it should be, and what stands for a missing one.
_ENTRIES: dict[str, tuple[Any, ...]] = {
    "method": (_is_text, "text"),
    "preset": (_is_text, "text"),
    "seed": (_is_seed, "a whole number"),
    "settings": (_are_settings, "names and plain values"),
    "target/name": (_is_text, "text"),
    "target/event shape": (_is_shape, "whole numbers"),
    "training/n_steps": (_is_count, "a whole number"),
    "training/n_evaluations": (_is_count, "a whole number"),
    "training/seconds": (_is_time, "a time"),
    "files": (_are_hashes, "the checksums of the files beside it", None),
    "system": (_is_system, "what is known of the system beside it", None),
}
