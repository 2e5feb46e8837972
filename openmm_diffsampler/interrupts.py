"""Interrupts of commands: the first one ends the work in order, the second one at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["exit_code", "heard"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def heard() -> Iterator[list[int]]:
    """Turn the first Ctrl-C or SIGTERM into KeyboardInterrupt, and let a second one end the process at once.

    Yields:
        A list that the number of the first one is added to.

    Example:
        >>> with heard() as numbers:
        ...     try:
        ...         signal.raise_signal(signal.SIGTERM)
        ...     except KeyboardInterrupt:
        ...         print(exit_code(numbers))
        143
    """
    numbers: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        if numbers:
            _end_at_once(number)
        numbers.append(number)
        raise KeyboardInterrupt

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, hear) for number in _NUMBERS}
    try:
        yield numbers
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def exit_code(numbers: list[int]) -> int:
    """What a shell expects of a command that the first of these signals ended; Ctrl-C where none was heard."""
    return 128 + (numbers[0] if numbers else signal.SIGINT)


def _end_at_once(number: int) -> None:
    if os.isatty(1):  # a progress bar hides it
        os.write(1, _SHOW_CURSOR)
    os._exit(128 + number)
