"""One mutation of a folder, drawn at random: damage, edits, with or without checksums that fit, files exchanged."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

from .byte_mutators import damaged
from .seals import reseal, unseal
from .value_mutators import VALUE_MUTATORS, edited

__all__ = ["DAMAGED", "FORGED", "UNSEALED", "mutate"]

#: The checksums are those that were written: other numbers must not come out.
DAMAGED = "damaged"
#: There are no checksums, as in folders of earlier versions: other numbers may come out, with a note.
UNSEALED = "without checksum"
#: The checksums fit: other numbers may come out, since they are what the folder says.
FORGED = "with a checksum that fits"


def mutate(folder: Path, rng: Random) -> tuple[str, str]:
    """Change one file of the folder in place; returns the kind (:data:`DAMAGED`, …) and what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    kind = rng.choices([DAMAGED, UNSEALED, FORGED], [8, 2, 2])[0]
    if kind == DAMAGED and rng.random() < 0.08:
        return kind, _file_gone_or_foreign(files, rng)
    if kind == UNSEALED:
        unseal(folder)
    path = rng.choice(files)
    content = path.read_bytes()
    by_value = path.suffix in VALUE_MUTATORS and rng.random() < (0.2 if kind == DAMAGED else 0.85)
    if by_value:
        content, what = edited(content, path.suffix, rng), "edited value"
    else:
        content, what = damaged(content, rng)
    path.write_bytes(content)
    if kind == FORGED:
        reseal(folder)
    return kind, f"{path.name}: {what}"


def _file_gone_or_foreign(files: list[Path], rng: Random) -> str:
    path = rng.choice(files)
    what = rng.choice(
        ["deleted", "emptied", "a folder", "exchanged", "a copy of another", "a link to itself", "beside"]
    )
    other = rng.choice(files)
    if what == "emptied":
        path.write_bytes(b"")
    elif what == "a copy of another":
        path.write_bytes(other.read_bytes())
    elif what == "exchanged":
        one, two = path.read_bytes(), other.read_bytes()
        path.write_bytes(two)
        other.write_bytes(one)
    elif what == "beside":
        stray = rng.choice([f"{path.name}.copy", f"._{path.name}", f"{path.stem} (1){path.suffix}", "notes.txt"])
        shutil.copy(path, path.with_name(stray))
        return f"{stray} beside {path.name}"
    else:
        path.unlink()
        if what == "a folder":
            path.mkdir()
        elif what == "a link to itself":
            path.symlink_to(path.name)
    return f"{path.name}: {what}"
