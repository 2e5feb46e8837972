"""Interrupts from the keyboard and requests to terminate, heard where a run can be left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupts", "deferred_interrupts", "listening"]


class Interrupts:
    """Whether somebody wants the run to stop; true once one does.

    An interrupt raises KeyboardInterrupt at once, but within :meth:`deferred`, where the first one is only noted. A
    second one never waits.
    """

    def __init__(self) -> None:
        self._is_asked = self._is_deferring = False

    def __bool__(self) -> bool:
        return self._is_asked

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Only note an interrupt, so that what is at hand is finished first; the block asks for it."""
        before, self._is_deferring = self._is_deferring, True
        try:
            yield
        finally:
            self._is_deferring = before

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if not self._is_deferring or self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True


@contextmanager
def listening() -> Iterator[Interrupts]:
    """Take care of SIGINT and SIGTERM until the block ends; in the main thread, the only one that hears signals.

    Example:
        >>> with listening() as interrupts, interrupts.deferred():
        ...     signal.raise_signal(signal.SIGTERM)
        ...     bool(interrupts)
        True
    """
    interrupts, previous = Interrupts(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, interrupts._heard)
    try:
        yield interrupts
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def deferred_interrupts() -> Iterator[Interrupts]:
    """:func:`listening` with all of it deferred."""
    with listening() as interrupts, interrupts.deferred():
        yield interrupts
