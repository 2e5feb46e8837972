"""How fast something is, by a short trial."""

import time

__all__ = ["calls_per_second"]


def calls_per_second(call, seconds):
    """Calls per second over at least `seconds` and one call, after one call to warm up."""
    call()
    start, n = time.perf_counter(), 0
    while n == 0 or time.perf_counter() - start < seconds:
        call()
        n += 1
    return n / (time.perf_counter() - start)
