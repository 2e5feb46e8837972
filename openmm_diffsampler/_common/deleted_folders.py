"""Work in a folder that somebody may delete while it goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["again_if_deleted"]

_TRIES = 3

P = ParamSpec("P")
R = TypeVar("R")


def again_if_deleted(write: Callable[P, R]) -> Callable[P, R]:
    """Have a function that makes its folder and writes to it begin again, if the folder vanishes in between.

    A folder is not deleted all at once: a file may be written after those that were there are gone, and before the
    folder itself is.

    Example:
        >>> gone = [True]
        >>> @again_if_deleted
        ... def write():
        ...     if gone.pop():
        ...         gone.append(False)
        ...         raise FileNotFoundError("the folder is gone")
        ...     return "written"
        >>> write()
        'written'
    """

    @functools.wraps(write)
    def written(*arguments: P.args, **keywords: P.kwargs) -> R:
        for _ in range(_TRIES - 1):
            try:
                return write(*arguments, **keywords)
            except FileNotFoundError:
                continue
        return write(*arguments, **keywords)

    return written
