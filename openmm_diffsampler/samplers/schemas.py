"""What a nested state has to look like: entries, kinds of values, shapes of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from openmm_diffsampler._common.quoting import shown

__all__ = ["Choice", "Entries", "Maybe", "Number", "Numbers", "Shape", "Whole", "like", "require_schema"]


class Number(NamedTuple):
    """A number; an infinite one or NaN where `is_finite` is false."""

    is_finite: bool = True


class Whole(NamedTuple):
    """A whole number from `least` to `most`."""

    least: int = 0
    most: float = math.inf


class Choice(NamedTuple):
    """One of several values."""

    values: tuple[Any, ...]


class Numbers(NamedTuple):
    """A list of whole numbers: exactly these, in any order or in this one."""

    values: tuple[int, ...]
    is_ordered: bool = True


class Shape(NamedTuple):
    """A tensor.

    Arguments:
        sizes: of its dimensions; a name stands for any size, the same wherever the name is, and ``...`` at the end for
            any further dimensions.
        dtype: of its numbers, or None for floating-point numbers of any kind.
        least: of its numbers, where there is a least one; they are no NaN then.
    """

    sizes: tuple[Any, ...]
    dtype: torch.dtype | None = None
    least: float | None = None


class Entries(NamedTuple):
    """A dict of any entries."""


class Maybe(NamedTuple):
    """A value that may be None, or an entry that may be absent, and is of this kind otherwise."""

    kind: Any


def like(tensors: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """The schema of tensors that are as these."""
    return {name: Shape(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}


def require_schema(found: Any, schema: Any, name: str = "", sizes: dict[str, int] | None = None) -> None:
    """Raise unless `found` is what the schema says.

    Arguments:
        found: the value.
        schema: one of the classes above, a dict of entries, or a list with one schema for every value.
        name: what the error calls it.
        sizes: of named dimensions that are known already; those that are found are added.

    Raises:
        ValueError: it is not; the message says what of it.

    Example:
        >>> schema = {"x": Shape(("rows", 3)), "u": Shape(("rows",)), "step": Whole()}
        >>> require_schema({"x": torch.ones(4, 3), "u": torch.ones(4), "step": 2}, schema)
        >>> require_schema({"x": torch.ones(4, 3), "u": torch.ones(5), "step": 2}, schema)
        Traceback (most recent call last):
        ValueError: its u is a tensor of shape (5,); it must be (rows,), rows being 4
    """
    sizes = {} if sizes is None else sizes
    if isinstance(schema, Maybe):
        if found is not None:
            require_schema(found, schema.kind, name, sizes)
    elif isinstance(schema, list):
        if not isinstance(found, list) or len(found) != len(schema):
            raise ValueError(f"its {name} is {shown(found)}; it must be a list of {len(schema)}")
        for k, (value, kind) in enumerate(zip(found, schema, strict=True)):
            require_schema(value, kind, f"{name}, {k}", sizes)
    elif isinstance(schema, dict):
        _require_entries(found, schema, name, sizes)
    elif isinstance(schema, Shape):
        _require_shape(found, schema, name, sizes)
    elif not _is_of(found, schema):
        raise ValueError(f"its {name} is {shown(found)}; it must be {schema}")


def _require_entries(found: Any, schema: dict[str, Any], name: str, sizes: dict[str, int]) -> None:
    what = f"its {name}" if name else "it"
    if not isinstance(found, dict):
        raise ValueError(f"{what} is {shown(found)}, not entries")
    needed = {key for key, kind in schema.items() if not isinstance(kind, Maybe)}
    if not needed <= found.keys() <= schema.keys():
        differing = sorted(map(str, (needed - found.keys()) | (found.keys() - schema.keys())))
        raise ValueError(f"{what} has other entries than it must: {shown(differing)}")
    for key, value in found.items():
        require_schema(value, schema[key], f"{name}/{key}" if name else str(key), sizes)


def _require_shape(found: Any, schema: Shape, name: str, sizes: dict[str, int]) -> None:
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"its {name} is {shown(found)}, not a tensor")
    wanted: Sequence[Any] = schema.sizes
    is_right = True
    if wanted and wanted[-1] is ...:
        wanted = wanted[:-1]
        is_right = found.ndim >= len(wanted)
    else:
        is_right = found.ndim == len(wanted)
    is_right = is_right and all(
        (sizes.setdefault(want, size) if isinstance(want, str) else want) == size
        for want, size in zip(wanted, found.shape, strict=False)
    )
    if not is_right:
        known = "".join(f", {want} being {sizes[want]}" for want in wanted if isinstance(want, str) and want in sizes)
        text = ", ".join(map(str, wanted)) + ("," if len(wanted) == 1 else "")
        raise ValueError(f"its {name} is a tensor of shape {tuple(found.shape)}; it must be ({text}){known}")
    if found.dtype != schema.dtype if schema.dtype is not None else not found.is_floating_point():
        raise ValueError(f"its {name} is of {found.dtype}; it must be {schema.dtype or 'of floating-point numbers'}")
    if schema.least is not None and not bool((found >= schema.least).all()):
        raise ValueError(f"its {name} holds numbers that are not {schema.least:g} or more")


def _is_of(found: Any, schema: Any) -> bool:
    if isinstance(schema, Number):
        return type(found) in (int, float) and (math.isfinite(found) or not schema.is_finite)
    if isinstance(schema, Whole):
        return type(found) is int and schema.least <= found <= schema.most
    if isinstance(schema, Choice):
        return any(type(found) is type(value) and found == value for value in schema.values)
    if isinstance(schema, Numbers):
        is_list = isinstance(found, list) and all(type(k) is int for k in found)
        return is_list and (found if schema.is_ordered else sorted(found)) == list(schema.values)
    return isinstance(schema, Entries) and isinstance(found, dict)
