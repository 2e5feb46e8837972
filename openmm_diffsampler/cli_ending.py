"""How commands end early: in one line that says what happened, what was kept, and how to go on."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from ._common.quoting import shortened
from .cli_signals import Heard, heard

__all__ = ["Ending", "ends_in_one_line", "fail", "reading"]

_LONGEST = 4000
#: Variable of the environment that asks for tracebacks.
_TRACEBACK = "OPENMM_DIFFSAMPLER_TRACEBACK"
#: Errors whose text says all that there is to say; the others are shown with their type.
_PLAIN = (ValueError, TypeError, OSError, RuntimeError, ImportError)


class Ending:
    """What a command has kept so far and how to go on, in words that are asked for only if it ends early."""

    def __init__(self) -> None:
        self._words: Callable[[], tuple[str, str]] = lambda: ("nothing was kept", "")

    def keeps(self, what: str, how: str = "") -> None:
        """Take note of what is kept from now on, and of how to go on."""
        self._words = lambda: (what, how)

    def keeps_checkpoint(self, folder: Path, has_checkpoint: Callable[[], bool]) -> None:
        """The same, of work whose checkpoints are in `folder`, once there are some."""

        def words() -> tuple[str, str]:
            if has_checkpoint():
                return f"the work up to the last checkpoint is in {folder}", "the same command goes on from there"
            return "nothing was kept yet", "the same command starts over"

        self._words = words

    def words(self, what: str = "") -> str:
        """What is kept, unless `what` says it already, and how to go on."""
        kept, how = self._words()
        return "; ".join(part for part in (what or kept, how) if part)


@contextmanager
def ends_in_one_line() -> Iterator[Ending]:
    """Run the body of a command: errors, Ctrl-C and SIGTERM end it in one line, and never in a traceback.

    Yields:
        :class:`Ending`, which the body tells what it has kept.

    Raises:
        typer.Exit: with 1 after an error, 130 after Ctrl-C, 143 after SIGTERM.
    """
    ending = Ending()
    for stream in (sys.stdout, sys.stderr):  # a name may have letters that the terminal has not
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    with heard() as signals, _warnings_in_one_line():
        try:
            yield ending
        except typer.Exit:
            raise
        except KeyboardInterrupt as interrupt:
            _end_interrupted(_text(interrupt), signals, ending)
        except Exception as error:
            if signals.is_raised:  # what an interrupt became in a library
                _end_interrupted("", signals, ending)
            if _wants_traceback():
                raise
            is_outside = not isinstance(error, _PLAIN) or (isinstance(error, OSError) and error.errno is not None)
            where = "" if isinstance(error, (*_PLAIN, MemoryError)) else f" ({_TRACEBACK}=1 shows where)"
            fail(_text(error) + where, ending.words() if is_outside else "")


def fail(error: object, kept: str = "") -> NoReturn:
    """Print the error, and what is kept in spite of it, and end the command."""
    _print("error:", "bold red", f"{_text(error)}; {kept}" if kept else _text(error))
    raise typer.Exit(1)


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Have every error of the block, which reads `path`, name it.

    Raises:
        ValueError: instead of an error that does not name it.

    Example:
        >>> with reading("molecule"):
        ...     raise KeyError("bonds")
        Traceback (most recent call last):
        ValueError: molecule cannot be read (KeyError: 'bonds')
    """
    try:
        yield
    except Exception as error:
        if Path(path).name in str(error) or _wants_traceback():
            raise
        raise ValueError(f"{path} cannot be read ({_text(error)})") from error


def _end_interrupted(what: str, signals: Heard, ending: Ending) -> NoReturn:
    _print("stopped:", "bold", ending.words(what.removeprefix("stopped ")))
    raise typer.Exit(signals.exit_code)


def _text(error: object) -> str:
    """One line of printable characters."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and error.filename is not None and error.filename2 is None:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, MemoryError):
        text = f"there is not enough memory{f' ({text})' if text else ''}; ask for fewer chains or samples at a time"
    elif isinstance(error, Exception) and (not text or not isinstance(error, _PLAIN)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    line = " ".join(text.split())
    return shortened("".join(c if c.isprintable() else "?" for c in line), _LONGEST)


def _print(label: str, style: str, text: str) -> None:
    Console(stderr=True, highlight=False).print(Text.assemble((label, style), " ", text), soft_wrap=True)


def _wants_traceback() -> bool:
    return os.environ.get(_TRACEBACK, "0") != "0"


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings without the line of code that gave them, which tells a user nothing."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _print("note:", "bold", _text(str(message)))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
