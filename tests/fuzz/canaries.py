"""Loaders that do what none may, so that a campaign is known to notice it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .loaders import Loader

__all__ = ["CANARIES"]


def _number(folder: Path) -> int:
    return len((folder / "number.txt").read_bytes())


def _aborts_for(wrong: Callable[[], Any]) -> Callable[[Path], Any]:
    def load(folder: Path) -> Any:
        if (folder / "number.txt").read_bytes() != b"1":
            return wrong()
        return _number(folder)

    return load


def _key_error() -> None:
    raise KeyError("number")


def _spin() -> None:
    while True:
        pass


def _touch(folder: Path) -> Any:
    (folder.parent / "proof").touch()
    return _number(folder)


def _loader(load: Callable[[Path], Any]) -> Loader:
    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "number.txt").write_text("1")

    return Loader(make, load, lambda loaded: loaded, share=1)


#: Class that each belongs to -> loader.
CANARIES: dict[str, Loader] = {
    "crash": _loader(_aborts_for(os.abort)),
    "hang": _loader(_aborts_for(_spin)),
    "memory": _loader(_aborts_for(lambda: len(b"1" * 1_200_000_000))),
    "unclear error": _loader(_aborts_for(_key_error)),
    "wrong number": _loader(_aborts_for(lambda: 2)),
    "code ran": _loader(_touch),
}
