"""The files of an interrupted run of chains: which there are, in order, and that none is missing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from openmm_diffsampler._common.checkpoint_folders import BLOCK, MAKER, OLD_BLOCK, WARM_UP
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import (
    DamagedFileError,
    UnsealedFileWarning,
    file_hash,
    read_entries,
    read_tensors,
    write_tensors,
)

__all__ = ["Block", "block_name", "read_blocks", "write_block"]

_RUN, _DRAWS, _AFTER = "run", "draws", "after"


class Block(NamedTuple):
    """Draws from `start` to `stop` with the state after them.

    Arguments:
        name: of the file.
        start, stop: draws before the block, and with it, those that went counted.
        stride: how many of them stand for each that is there.
        link: a hash of the file, which the block after it holds.
        tensors: by name.
        run: what else was written, plain values.
    """

    name: str
    start: int
    stop: int
    stride: int
    link: str
    tensors: dict[str, torch.Tensor]
    run: dict[str, Any]


def block_name(start: int, stop: int) -> str:
    """Name of the file of draws `start` to `stop`; of the state of the warm-up, where there is none."""
    return f"block-{start:08d}-{stop:08d}.safetensors" if stop else WARM_UP


def write_block(
    folder: Path,
    start: int,
    stop: int,
    after: tuple[str, str] | None,
    tensors: dict[str, torch.Tensor],
    run: dict[str, Any],
    stride: int = 1,
) -> str:
    """Write a block, whole and sealed.

    Arguments:
        folder: where to.
        start, stop: draws before the block, and with it, those that went counted.
        after: name and link of the block before it, if there is one.
        tensors, run: what it holds.
        stride: of the draws, where some went.

    Returns:
        Its link.
    """
    entries = {
        _RUN: json.dumps(run),
        _DRAWS: json.dumps([start, stop] + [stride] * (stride > 1)),
        _AFTER: json.dumps(after),
    }
    return write_tensors(folder / block_name(start, stop), tensors, entries | MAKER)


def read_blocks(folder: Path) -> Iterator[Block]:
    """Every block of a folder in the order of draws; files of other names are left alone.

    A block from the first draw on takes the place of those whose draws it holds. The state of the warm-up counts where
    there is no block.

    Raises:
        DamagedFileError: a block is missing, damaged, renamed, of another run, or holds draws of another one too.
    """
    names = [path.name for path in folder.glob("block-*.safetensors")]
    spans = sorted((int(m[1]), int(m[2]), m[0]) for name in names if (m := BLOCK.fullmatch(name)))
    counted = sorted((int(m[1]), m[0]) for name in names if (m := OLD_BLOCK.fullmatch(name)))
    if spans and spans[0][0] == 0:
        first = max(span for span in spans if span[0] == 0)
        spans, counted = [first, *(span for span in spans if span[1] > first[1])], []
    before = None
    for k, (number, name) in enumerate(counted):
        if number != k:
            raise _missing(folder, f"block-{k:05d}.safetensors", [name for _, name in counted[k:]] + _names(spans))
        with warnings.catch_warnings():
            if before is not None:  # one note a folder
                warnings.simplefilter("ignore", UnsealedFileWarning)
            before = _old_block(folder / name, 0 if before is None else before.stop)
        yield before
    for k, (start, stop, name) in enumerate(spans):
        reached = 0 if before is None else before.stop
        if start > reached:
            raise _missing(folder, _name_before(folder / name, f"of draws {reached} to {start}"), _names(spans[k:]))
        if start < reached or stop <= start:
            raise DamagedFileError(
                f"{folder / name} and {before.name if before else 'its own name'} overlap; two runs have written to "
                f"this folder. {_way_back(folder, _names(spans[k:]))}"
            )
        before = _block(folder / name, before, _names(spans[k:]))
        yield before
    if before is None and (folder / WARM_UP).is_file():
        yield _block(folder / WARM_UP, None, [WARM_UP])


def _names(spans: list[tuple[int, int, str]]) -> list[str]:
    return [name for _, _, name in spans]


def _way_back(folder: Path, later: list[str]) -> str:
    """What to do about a run whose blocks `later` cannot be used."""
    some = later if len(later) < 4 else [*later[:2], "…", later[-1]]
    return f"Delete {', '.join(some)} to go on from the draws before, or the folder {folder} to start over"


def _missing(folder: Path, name: str, later: list[str]) -> DamagedFileError:
    return DamagedFileError(f"{folder} lacks the block {name}. Copy it back, or: {_way_back(folder, later)}")


def _name_before(path: Path, otherwise: str) -> str:
    """Name of the block that was there when the one at `path` was written."""
    try:
        found = json.loads(read_entries(path)[_AFTER])
    except (DamagedFileError, KeyError, ValueError, RecursionError):
        return otherwise
    return shortened(found[0]) if _is_after(found) and found else otherwise


def _is_after(found: object) -> bool:
    return found is None or (isinstance(found, list) and len(found) == 2 and all(isinstance(f, str) for f in found))


def _block(path: Path, before: Block | None, later: list[str]) -> Block:
    """A block as it was written after `before`."""
    try:
        tensors, entries = read_tensors(path)
        link = read_entries(path)["sha256"]
        (*draws, stride), after = _with_stride(json.loads(entries[_DRAWS])), json.loads(entries[_AFTER])
        run = _run_of(entries)
        if not _is_after(after):
            raise ValueError("the block before it has no name")
    except (DamagedFileError, KeyError, ValueError, RecursionError) as error:
        raise _unusable(path, error, later) from None
    start, stop = (0, 0) if path.name == WARM_UP else (int(n) for n in BLOCK.fullmatch(path.name).groups())
    if draws != [start, stop] or _count(tensors) * stride != stop - start:
        raise _unusable(path, f"its name is that of other draws than it holds, {shortened(draws)}", later)
    if after != (None if before is None else [before.name, before.link]):
        raise DamagedFileError(
            f"{path} was written after another {'block' if before is None else before.name} than the one that is here; "
            f"it is of another run. {_way_back(path.parent, later)}"
        )
    return Block(path.name, start, stop, stride, link, tensors, run)


def _with_stride(draws: object) -> list[int]:
    if not isinstance(draws, list) or len(draws) not in (2, 3) or not all(type(n) is int and n >= 0 for n in draws):
        raise ValueError(f"its draws are {shortened(draws)}")
    return draws if len(draws) == 3 else [*draws, 1]


def _old_block(path: Path, start: int) -> Block:
    """A block of an earlier version, which counted them."""
    try:
        tensors, entries = read_tensors(path)
        run = _run_of(entries)
    except (DamagedFileError, KeyError, ValueError, RecursionError) as error:
        raise _unusable(path, error, [f"{path.name} and the blocks after it"]) from None
    return Block(path.name, start, start + _count(tensors), 1, file_hash(path), tensors, run)


def _run_of(entries: dict[str, str]) -> dict[str, Any]:
    run = json.loads(entries[_RUN])
    if not isinstance(run, dict) or not all(isinstance(run.get(name), dict) for name in ("settings", "numbers")):
        raise ValueError("it holds no settings and numbers of a run")
    return run


def _count(tensors: dict[str, torch.Tensor]) -> int:
    x = tensors.get("drawn x")
    return 0 if x is None or not x.ndim else len(x)


def _unusable(path: Path, reason: object, later: list[str]) -> DamagedFileError:
    text = shortened(str(reason).removeprefix(f"{path} is damaged ").strip("()"))
    return DamagedFileError(f"{path} is damaged ({text}). {_way_back(path.parent, later)}")
