"""Settings of samplers: what a field may hold, and presets by target."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from openmm_diffsampler._common.quoting import shortened, shown

from .setting_bounds import BOUNDS, LARGEST_NETWORK

if TYPE_CHECKING:
    from openmm_diffsampler.targets import Target

__all__ = [
    "LARGEST_NUMBER",
    "MOLECULE",
    "from_preset",
    "make_plain",
    "require_choices",
    "require_modest_networks",
    "whole_number",
]

#: Stands for any molecule in internal coordinates among the keys of presets.
MOLECULE = "molecule"
_KINDS = {int: "an integer", float: "a number", bool: "True or False", str: "text"}
#: What whole numbers outside of settings may be, seeds above all.
LARGEST_NUMBER = 2**62

_Settings = TypeVar("_Settings")


def make_plain(settings: Any, bounds: Mapping[str, tuple[float, float]] | None = None) -> None:
    """Turn the fields of a frozen dataclass into plain values of their types, once they are found to be in range.

    Numbers and truth values of numpy pass, whole numbers pass for real ones, nothing else does.

    Arguments:
        settings: the dataclass, whose fields are int, float, bool, str, or one of these or None.
        bounds: name → least and most, where they differ from
            :data:`~openmm_diffsampler.samplers.setting_bounds.BOUNDS`.

    Raises:
        TypeError: a value of another type.
        ValueError: a number out of its range, NaN or infinite.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        kinds = get_args(field.type) or (field.type,)
        if value is None and type(None) in kinds:
            continue
        kind = next(k for k in kinds if k is not type(None))
        value = _plain(field, kind, value)
        if kind in (int, float):
            _require_in_range(field.name, value, (bounds or {}).get(field.name) or BOUNDS[field.name])
        object.__setattr__(settings, field.name, value)


def _plain(field: Field[Any], kind: type, value: object) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    is_truth = isinstance(value, bool)
    fits = {
        int: isinstance(value, Integral) and not is_truth,
        float: isinstance(value, Real) and not is_truth,
        bool: is_truth,
        str: isinstance(value, str),
    }
    if not fits[kind]:
        none = " or None" if type(None) in get_args(field.type) else ""
        raise TypeError(f"{field.name} is {shown(value)}; it must be {_KINDS[kind]}{none}")
    try:
        return kind(value)
    except OverflowError:
        raise ValueError(f"{field.name} is {shown(value)}; it must be finite") from None


def _require_in_range(name: str, value: float, bounds: tuple[float, float]) -> None:
    least, most = bounds
    if isinstance(value, float) and (not math.isfinite(value) or (least > 0 and value <= 0)):
        bound = "positive and finite" if least > 0 else "finite"
        raise ValueError(f"{name} is {shown(value)}; it must be {bound}")
    if value < least:
        raise ValueError(f"{name} is {shown(value)}; it must be at least {least:g}")
    if value > most:
        raise ValueError(f"{name} is {shown(value)}; it must be at most {most:g}")


def require_choices(settings: object, choices: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ValueError unless the fields named in `choices` hold one of the words there."""
    for name, known in choices.items():
        value = getattr(settings, name)
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{name} is {shown(value)}; supported are {', '.join(map(repr, known))}")


def require_modest_networks(settings: object, sizes: Iterable[tuple[str, str, int]]) -> None:
    """Raise ValueError if networks would not fit into memory.

    Arguments:
        settings: the dataclass.
        sizes: of each network the names of its width and its layers, and how many networks there are.
    """
    n_parameters = sum(getattr(settings, w) ** 2 * getattr(settings, layers) * n for w, layers, n in sizes)
    if n_parameters > LARGEST_NETWORK:
        names = dict.fromkeys(name for size in sizes for name in size[:2])
        given = ", ".join(f"{name} {getattr(settings, name):,}" for name in names)
        raise ValueError(
            f"the networks would have about {n_parameters:,} parameters, and up to {LARGEST_NETWORK:,} are supported; "
            f"give less than {given}"
        )


def whole_number(name: str, value: object, least: int = 1, most: int = LARGEST_NUMBER) -> int:
    """`value` as an int.

    Arguments:
        name: what the error calls it.
        value: an integer, of numpy or not.
        least, most: its range.

    Raises:
        TypeError: it is no integer.
        ValueError: it is out of its range.

    Example:
        >>> whole_number("n", np.int32(5))
        5
        >>> whole_number("n", "5")
        Traceback (most recent call last):
        TypeError: n is '5'; it must be an integer
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}; it must be an integer")
    if not least <= value <= most:
        bound = f"at least {least}" if value < least else f"at most {most}"
        raise ValueError(f"{name} is {shown(int(value))}; it must be {bound}")
    return int(value)


def from_preset(
    presets: Mapping[str, Mapping[str | None, _Settings]],
    preset: str,
    target: Target,
    changes: Mapping[str, Any] | None,
    method: str,
) -> _Settings:
    """The settings of a preset for `target`, with `changes`.

    What the target is decides, not its name: its `preset_key`, or, of a molecule in internal coordinates,
    :data:`MOLECULE`.

    Arguments:
        presets: dict of preset → dict of key (None for any other target) → settings.
        preset: which.
        target: a :class:`~openmm_diffsampler.targets.Target`, in the coordinates of the method.
        changes: dict, or None.
        method: what errors call it.

    Raises:
        ValueError: an unknown preset.
        TypeError: an unknown setting.
    """
    if not isinstance(preset, str) or preset not in presets:
        raise ValueError(f"preset is {shown(preset)}; {method} supports {', '.join(map(repr, presets))}")
    key = target.preset_key if target.periods is None else MOLECULE
    settings, changes = presets[preset].get(key, presets[preset][None]), changes or {}
    known = {field.name for field in fields(settings)}
    unknown = sorted(set(changes) - known)
    if unknown:
        names = shortened(", ".join(map(shown, unknown)))
        raise TypeError(f"{method} has no setting {names}; it has {', '.join(sorted(known))}")
    return replace(settings, **changes)
