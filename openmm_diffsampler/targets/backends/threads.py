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
    """A lock that is free in a forked child, and in a copy of what holds it.

    Example:
        >>> import copy
        >>> lock = RenewedLock()
        >>> with lock:
        ...     print(lock.locked(), copy.deepcopy(lock).locked())
        True False
    """

    def __init__(self) -> None:
        self.renew()
        renewed_after_fork(self)

    def renew(self) -> None:
        """Be free, whoever held the lock."""
        self._lock, self._held = Lock(), None

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._lock.locked()

    def __enter__(self) -> None:
        lock = self._lock
        lock.acquire()
        self._held = lock

    def __exit__(self, *error: object) -> None:
        self._held, held = None, self._held
        if held is not None:  # renewed meanwhile, where the block itself has forked
            held.release()

    def __reduce__(self) -> tuple[type[RenewedLock], tuple[()]]:
        return RenewedLock, ()


def n_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def submitted(n: int, work: Callable[[Any], object], arguments: Iterable[Any]) -> list[Future]:
    """Futures of `work` on each of the arguments; none where the interpreter is about to end and takes no more."""
    try:
        return [_pool(n).submit(work, argument) for argument in arguments]
    except RuntimeError:
        return []


def in_chunks(work: Callable[[slice], object], n_rows: int) -> None:
    """Call `work` with slices that make up `n_rows` rows, side by side; it must let go of the interpreter's lock."""
    n_chunks = max(1, min(n_threads(), n_rows // _WORTH_A_THREAD))
    size = -(-n_rows // n_chunks)
    chunks = [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)] or [slice(0, 0)]
    others = submitted(n_threads(), work, chunks[1:])
    work(chunks[0])
    for other in others:
        other.result()
    if not others:
        for chunk in chunks[1:]:
            work(chunk)
