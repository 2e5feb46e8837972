"""Threads that share a batch."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

__all__ = ["in_chunks", "n_threads", "submitted"]

#: Rows that are worth waking a thread for.
_WORTH_A_THREAD = 128


@cache
def _pool(n):
    return ThreadPoolExecutor(n)


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def n_threads():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def submitted(n, work, arguments):
    """Futures of `work` on each of the arguments; none where the interpreter is about to end and takes no more."""
    try:
        return [_pool(n).submit(work, argument) for argument in arguments]
    except RuntimeError:
        return []


def in_chunks(work, n_rows):
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
