"""Options of sampling, which each kind of weights has its own of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openmm_diffsampler._common.quoting import shortened

from .settings import whole_number

__all__ = ["require_options"]

#: Steps, draws and levels, at most.
_LARGEST = 10**7


def require_options(given: Mapping[str, Any], least: Mapping[str, int], weights: str | None) -> dict[str, int]:
    """Check the options of :meth:`Sampler.sample`, all of them whole numbers.

    Arguments:
        given: dict of names and values; None stands for the default.
        least: dict of the names that there are with these weights and their least values.
        weights: kind of weights.

    Returns:
        A dict of those that differ from the default.

    Raises:
        TypeError: an unknown name, or no integer.
        ValueError: a number below the least, or above ten million.
    """
    if unknown := sorted(set(given) - set(least)):
        names = shortened(str(unknown))
        raise TypeError(f"unknown options {names} with weights {weights!r}; there are {sorted(least)}")
    given = {name: value for name, value in given.items() if value is not None}
    return {name: whole_number(name, value, least[name], _LARGEST) for name, value in given.items()}
