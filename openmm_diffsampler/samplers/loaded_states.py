"""Numbers and tensors of states that come from files, checked before they are used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from openmm_diffsampler._common.quoting import shown
from openmm_diffsampler.coordinates import StandardColumns
from openmm_diffsampler.coordinates.internal_target import CHIRALITY
from openmm_diffsampler.diffusion import LevelTables
from openmm_diffsampler.targets import Target

from .schemas import like, require_schema

__all__ = [
    "checked_columns",
    "checked_number",
    "checked_tables",
    "checked_tensor",
    "load_weights",
    "require_internal_state",
]


#: Of numbers, so that their squares are finite.
_MOST = 1e12


def checked_number(state: Mapping[str, Any], name: str, least: float = 0.0, *, optional: bool = False) -> Any:
    """A number from `least` to 10^12 from a state; or None, where `optional`.

    Raises:
        ValueError: it is missing or anything else.
    """
    value = _entry(state, name)
    if value is None and optional:
        return None
    if type(value) not in (int, float) or not least <= value <= _MOST:
        raise ValueError(f"its {name} is {shown(value)}")
    return float(value)


def checked_tensor(
    state: Mapping[str, Any], name: str, shape: tuple[int | None, ...], *, most: float | None = None
) -> torch.Tensor:
    """A tensor of real numbers from a state.

    Arguments:
        state: nested dict.
        name: of the entry.
        shape: None stands for any length.
        most: numbers may reach it; without, they are finite. None of them is NaN.

    Raises:
        ValueError: it is missing or anything else.
    """
    value = _entry(state, name)
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        what = f"a tensor of {value.dtype}" if isinstance(value, torch.Tensor) else shown(value)
        raise ValueError(f"its {name} is {what}, not a tensor of real numbers")
    if value.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, value.shape, strict=True)):
        raise ValueError(f"its {name} has shape {tuple(value.shape)}")
    if not (value.isfinite().all() if most is None else (value <= most).all()):
        raise ValueError(f"its {name} holds NaN or infinite numbers")
    return value


def _entry(state: Mapping[str, Any], name: str) -> Any:
    if not isinstance(state, dict) or name not in state:
        raise ValueError(f"it has no {name}")
    return state[name]


def checked_tables(state: Mapping[str, Any], name: str, target: Target) -> LevelTables:
    """:class:`~openmm_diffsampler.diffusion.LevelTables` from the entry `name` of a state.

    Arguments:
        state: nested dict.
        name: of the entry.
        target: whose periods tell whether each coordinate has a size of its own.

    Raises:
        ValueError: it is missing or anything else.
    """
    tables = _entry(state, name)
    cost = checked_tensor(tables, "cost", (None,))
    if len(cost) < 2:
        raise ValueError(f"its {name} have {len(cost)} levels")
    size = _entry(tables, "size")
    by_coordinate = target.periods is not None and isinstance(size, torch.Tensor) and size.ndim > 1
    shape = (len(cost), *target.event_shape) if by_coordinate else (len(cost),)
    return LevelTables(checked_tensor(tables, "size", shape), cost)


def checked_columns(state: Mapping[str, Any], event_shape: tuple[int, ...]) -> StandardColumns:
    """:class:`~openmm_diffsampler.coordinates.StandardColumns` of configurations of a shape, from their state.

    Raises:
        ValueError: they are anything else.
    """
    order = _entry(state, "order")
    n, size = len(order) if isinstance(order, list) else 0, math.prod(event_shape)
    if not n or any(type(k) is not int for k in order) or sorted(order) != list(range(n)):
        raise ValueError(f"its order of columns is {shown(order)}")
    n_circular = _entry(state, "n_circular")
    if type(n_circular) is not int or not 0 <= n_circular <= n:
        raise ValueError(f"its number of angles is {shown(n_circular)}")
    centre, scale = checked_tensor(state, "centre", (n,)), checked_tensor(state, "scale", (n,))
    period = checked_tensor(state, "period", (n,), most=math.inf)
    basis = checked_tensor(state, "basis", (n, size)) if "basis" in state else None
    if not (scale > 0).all() or not (period > 0).all() or (basis is None and n != size):
        raise ValueError("its columns are those of no density")
    if list(_entry(state, "event_shape")) != list(event_shape):
        raise ValueError(f"its columns are of shape {shown(state['event_shape'])}")
    return StandardColumns(order, n_circular, centre, scale, period, event_shape, basis)


def require_internal_state(state: Mapping[str, Any], n_atoms: int, n_coordinates: int) -> None:
    """Raise ValueError unless a state has positions, positive widths and a chirality of a molecule."""
    checked_tensor(state, "positions", (n_atoms, 3))
    if not (checked_tensor(state, "widths", (n_coordinates,)) > 0).all():
        raise ValueError("its widths are not positive")
    if not isinstance(_entry(state, "chirality"), str) or state["chirality"] not in CHIRALITY:
        raise ValueError(f"its chirality is {shown(state['chirality'])}")


def load_weights(module: torch.nn.Module, state: Mapping[str, Any], name: str) -> None:
    """Put the entry `name` of a state into a module.

    Raises:
        ValueError: it is missing, has other names, shapes or kinds than the module, or holds NaN or infinite numbers.
    """
    weights = _entry(state, name)
    require_schema(weights, like(module.state_dict()), name)
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ValueError(f"its {name} holds NaN or infinite numbers")
    module.load_state_dict(weights)
