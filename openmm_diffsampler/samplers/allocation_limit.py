"""A limit on what tensors are made of while something is built by numbers from a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["AllocationLimitError", "limited_allocation"]

#: Tensors that are made, at most; those of the largest networks are some thousands.
_MOST_TENSORS = 200_000
_BY_SHAPE = (torch.empty, torch.zeros, torch.ones, torch.randn, torch.rand)


class AllocationLimitError(RuntimeError):
    """More is asked for than the limit allows."""


class _Limit(TorchFunctionMode):
    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.n_bytes, self.left, self.n_tensors = n_bytes, n_bytes, 0

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        n = _n_elements(function, args, kwargs)
        if n is not None:
            self.left -= n * torch.empty((), dtype=kwargs.get("dtype"), device="meta").element_size()
            self.n_tensors += 1
            if self.left < 0 or self.n_tensors > _MOST_TENSORS:
                raise AllocationLimitError(f"they ask for more than {self.n_bytes / 2**20:,.0f} MiB")
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
def limited_allocation(n_bytes: int) -> Iterator[None]:
    """Within the block, refuse to make tensors once those made from their sizes alone come to more than `n_bytes`.

    Sizes are looked at before anything is allocated, in this thread.

    Raises:
        AllocationLimitError: more is asked for.

    Example:
        >>> with limited_allocation(1000):
        ...     _ = torch.nn.Linear(10**9, 10**3)
        Traceback (most recent call last):
        openmm_diffsampler.samplers.allocation_limit.AllocationLimitError: they ask for more than 0 MiB
    """
    with _Limit(n_bytes):
        yield
