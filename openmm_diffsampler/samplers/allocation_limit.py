"""A limit on what tensors are made of while something is built by numbers from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["AllocationLimitError", "limited_allocation"]

_BY_SHAPE = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand)


class AllocationLimitError(RuntimeError):
    """More is asked for than the limit allows."""


class _Limit(TorchFunctionMode):
    def __init__(self, n_bytes: int, n_tensors: int) -> None:
        super().__init__()
        self.limits = f"they ask for more than {n_bytes / 2**20:,.0f} MiB or {n_tensors:,} tensors"
        self.bytes_left, self.tensors_left = n_bytes, n_tensors

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        n = _n_elements(function, args, kwargs)
        if n is not None:
            self.bytes_left -= n * torch.empty((), dtype=kwargs.get("dtype"), device="meta").element_size()
            self.tensors_left -= 1
            if self.bytes_left < 0 or self.tensors_left < 0:
                raise AllocationLimitError(self.limits)
        return function(*args, **kwargs)


def _n_elements(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """Of the tensor that a call makes; None of all calls but those that make one from its size alone."""
    try:
        if function in _BY_SHAPE:
            shape = kwargs.get("size", args[0] if args and not isinstance(args[0], int) else args)
        elif function is torch.full:
            shape = kwargs.get("size", args[0] if args else ())
        elif function is torch.eye:
            shape = args[:2] * (3 - len(args[:2])) if args else ()
        elif function is torch.linspace:
            shape = (kwargs.get("steps", args[2] if len(args) > 2 else 1),)
        elif function is torch.arange:
            shape = (max(0, math.ceil(args[-1] if len(args) < 3 else args[1])),)
        else:
            return None
        return math.prod(int(n) for n in shape)
    except (TypeError, ValueError, OverflowError):  # the call itself says what is wrong
        return None


@contextmanager
def limited_allocation(n_bytes: int, n_tensors: int) -> Iterator[None]:
    """Within the block, refuse to make tensors once those made from their sizes alone are too many or too large.

    Arguments:
        n_bytes: of all of them.
        n_tensors: how many.

    Sizes are looked at before anything is allocated, in this thread.

    Raises:
        AllocationLimitError: more is asked for.

    Example:
        >>> with limited_allocation(1000, n_tensors=10):
        ...     _ = torch.nn.Linear(10**9, 10**3)
        Traceback (most recent call last):
        openmm_diffsampler.samplers.allocation_limit.AllocationLimitError: they ask for more than 0 MiB or 10 tensors
    """
    with _Limit(n_bytes, n_tensors):
        yield
