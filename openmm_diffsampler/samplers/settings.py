"""Settings of samplers: what a field may hold, and presets by target."""

import math
from dataclasses import fields, replace

__all__ = ["from_preset", "require_in_range"]


def require_in_range(settings, may_be_zero=()):
    """Raise unless the numbers of a dataclass are positive, or not negative where `may_be_zero` names them.

    Raises:
        TypeError: no integer where there must be one.
        ValueError: a number out of its range.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type is int and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"{field.name} is {value!r}; it must be an integer")
        if isinstance(value, bool | str) or value is None:
            continue
        least = 0 if field.name in may_be_zero else 1 if field.type is int else None
        if not (0 < value < math.inf if least is None else least <= value < math.inf):
            bound = "positive and finite" if least is None else f"at least {least}, and finite"
            raise ValueError(f"{field.name} is {value}; it must be {bound}")


def from_preset(presets, preset, name, changes, method):
    """The settings of a preset for the target `name`, with `changes`.

    Arguments:
        presets: dict of preset → dict of target name (None for any other) → settings.
        preset, name: which.
        changes: dict, or None.
        method: what errors call it.

    Raises:
        ValueError: an unknown preset.
        TypeError: an unknown setting.
    """
    if preset not in presets:
        raise ValueError(f"preset is {preset!r}; {method} supports {', '.join(map(repr, presets))}")
    settings, changes = presets[preset].get(name, presets[preset][None]), changes or {}
    known = {field.name for field in fields(settings)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise TypeError(f"{method} has no setting {', '.join(map(repr, unknown))}; it has {', '.join(sorted(known))}")
    return replace(settings, **changes)
