"""Threads that share a batch, locks, and what a forked child does without its parent's threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import Any
from weakref import WeakSet

__all__ = ["RenewedLock", "in_chunks", "n_threads", "renewed_after_fork", "submitted"]

#: Rows that are worth waking a thread for.
_WORTH_A_THREAD = 128

_renewed: WeakSet = WeakSet()


def renewed_after_fork(thing: Any) -> None:
    """Have ``thing.renew()`` called in forked children, which have none of the threads that their parent had.

    Locks that those held stay locked for ever there, and nothing waits in their queues.
    """
    _renewed.add(thing)


@cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n)


def _in_child() -> None:
    _pool.cache_clear()
    for thing in list(_renewed):
        thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class RenewedLock:
    """Where a lock is found that is free in a forked child, and in a copy of what holds it.

    Example:
        >>> import copy
        >>> place = RenewedLock()
        >>> with place.lock:
        ...     print(place.lock.locked(), copy.deepcopy(place).lock.locked())
        True False
    """

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Put another lock here, whoever holds this one; who does lets go of the one that they took."""
        self.lock = Lock()

    def __reduce__(self) -> tuple[type[RenewedLock], tuple[()]]:
        return RenewedLock, ()


def n_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def submitted(n: int, work: Callable[[Any], object], arguments: Iterable[Any]) -> list[Future]:
    """Futures of `work` on the first of the arguments; on all, unless no more threads can be started."""
    futures: list[Future] = []
    try:
        for argument in arguments:
            futures.append(_pool(n).submit(work, argument))
    except RuntimeError:  # the interpreter is about to end, or the system has no thread left
        pass
    return futures


def in_chunks(work: Callable[[slice], object], n_rows: int) -> None:
    """Call `work` with slices that make up `n_rows` rows, side by side; it must let go of the interpreter's lock."""
    n_chunks = max(1, min(n_threads(), n_rows // _WORTH_A_THREAD))
    size = max(1, -(-n_rows // n_chunks))
    chunks = [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)] or [slice(0, 0)]
    others = submitted(n_threads(), work, chunks[1:])
    for chunk in (chunks[0], *chunks[1 + len(others) :]):
        work(chunk)
    for other in others:
        other.result()
