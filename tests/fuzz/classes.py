"""What became of an input."""

from __future__ import annotations

from typing import Any

from .mutations import DAMAGED, UNSEALED
from .worker import MEGABYTES, SECONDS

__all__ = ["BAD", "CLASSES", "classify"]

#: In the order of the table, good ones first.
CLASSES = (
    "same",
    "clear error",
    "with a note",
    "forged",
    "wrong number",
    "unclear error",
    "crash",
    "hang",
    "memory",
    "code ran",
)
BAD = CLASSES[4:]

_CLEAR = {"ValueError", "OSError", "TypeError"}
_LONGEST_MESSAGE = 2000
_NOTE = "UnsealedFileWarning"


def classify(answer: dict[str, Any], expected: str, kind: str, names: set[str], code_ran: bool) -> str:
    """One of :data:`CLASSES`.

    Arguments:
        answer: of the worker.
        expected: digest of the undamaged folder.
        kind: of the mutation.
        names: of the folder and the files in it, one of which a clear error names.
        code_ran: whether a payload left its file.
    """
    if code_ran:
        return "code ran"
    if "hung" in answer:
        return "hang"
    if "died" in answer:
        return "crash"
    if answer.get("error") == "MemoryError" or answer["megabytes"] > MEGABYTES / 3:
        return "memory"
    if answer["seconds"] > SECONDS / 2:
        return "hang"
    if "error" in answer:
        is_clear = _is_clear(answer, kind, names) and answer["length"] <= _LONGEST_MESSAGE
        return "clear error" if is_clear else "unclear error"
    if answer["digest"] == expected:
        return "same"
    if kind == DAMAGED:
        return "wrong number"
    if kind == UNSEALED:
        return "with a note" if _NOTE in answer["notes"] else "wrong number"
    return "forged"


def _is_clear(answer: dict[str, Any], kind: str, names: set[str]) -> bool:
    """Whether an error names a file, or, once an edited file has been read, is raised on purpose."""
    bases = set(answer["bases"])
    if kind != DAMAGED and answer["phase"] == "use":
        return bool((_CLEAR | {"RuntimeError"}) & bases) and answer["is_ours"]
    return bool(_CLEAR & bases) and any(name in answer["message"] for name in names)
