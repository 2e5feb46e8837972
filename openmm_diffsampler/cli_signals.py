"""Interrupts of commands: the first one ends the work in order, a second one at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["Heard", "heard"]

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"
#: Seconds after which a signal that Python lost is sent again.
_AGAIN = 0.01


class Heard:
    """Signals that came, those included that other code took care of.

    Attributes:
        is_raised: whether one became an error here.
    """

    def __init__(self, pipe: int | None, error: type[BaseException]) -> None:
        self._pipe, self._error, self._came, self.is_raised = pipe, error, b"", False

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that the first of the signals ended; Ctrl-C where none came."""
        if self._pipe is not None:
            with suppress(BlockingIOError):
                self._came += os.read(self._pipe, 1000)
        return 128 + next((number for number in self._came if number in _NUMBERS), signal.SIGINT)

    def _unraisable(self, lost: sys.UnraisableHookArgs, others: Callable[[sys.UnraisableHookArgs], Any]) -> None:
        """What is raised inside the callback of a weak reference goes nowhere: then the signal comes again."""
        if lost.exc_type not in (self._error, KeyboardInterrupt):
            others(lost)
            return
        self.is_raised = False
        again = threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.is_raised:
            _end_at_once(number)
        self.is_raised = True
        raise self._error


@contextmanager
def heard(error: type[BaseException] = KeyboardInterrupt) -> Iterator[Heard]:
    """Turn the first Ctrl-C or SIGTERM into an error, and let a second one end the process at once.

    Only the main thread hears signals; in another one nothing changes.

    Example:
        >>> with heard() as signals:
        ...     try:
        ...         signal.raise_signal(signal.SIGTERM)
        ...     except KeyboardInterrupt:
        ...         print(signals.exit_code)
        143
    """
    if threading.current_thread() is not threading.main_thread():
        yield Heard(None, error)
        return
    # Whoever handles a signal, its number comes out of this pipe.
    pipe, end = os.pipe()
    for descriptor in (pipe, end):
        os.set_blocking(descriptor, False)
    signals = Heard(pipe, error)
    before = signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    previous = {number: signal.signal(number, signals._hear) for number in _NUMBERS}
    others = sys.unraisablehook
    sys.unraisablehook = lambda lost: signals._unraisable(lost, others)
    try:
        yield signals
    finally:
        sys.unraisablehook = others
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(before)
        for descriptor in (pipe, end):
            os.close(descriptor)


def _end_at_once(number: int) -> None:
    if os.isatty(1):  # a progress bar hides it
        os.write(1, _SHOW_CURSOR)
    os._exit(128 + number)
