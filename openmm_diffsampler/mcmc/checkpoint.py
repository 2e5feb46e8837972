"""Interrupted runs on disk: blocks of draws, each with the state of the chains after it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from openmm_diffsampler._common.checkpoint_folders import held_checkpoint, written_although_deleted
from openmm_diffsampler._common.folder_lock import LOCK_FILES, held
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler.targets import Target
from openmm_diffsampler.targets.recorded_identity import with_hash_of_today

from .blocks import Block, block_name, read_blocks, write_block
from .draws import Draws

__all__ = ["Checkpoint"]

State = tuple[dict[str, torch.Tensor], dict[str, Any]]


class Checkpoint:
    """A folder of files ``block-00000006-00000008.safetensors``, named by their draws, each written whole and sealed.

    A block holds the draws since the block before it, the state of chains and random numbers, the settings of the run,
    and a hash of the block before it; so the newest one knows all that belong to the run. The state in the warm-up is
    in a file of its own. Other files are left alone.

    Arguments:
        folder: where blocks are; made if absent.
        settings: plain values that a resumed run must share.
        initial: positions as they were given, for each chain, which it must share too.
        start: the state that chains start from, in which earlier versions told runs apart.
        target: what is sampled, whose identity is in the settings; without it, files of earlier versions are refused.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: dict[str, Any],
        initial: torch.Tensor,
        start: torch.Tensor,
        target: Target | None = None,
    ) -> None:
        self.folder, self.target = Path(folder), target
        self.settings = settings | _which(initial)
        self._earlier = _which(start)
        self.n_saved, self._stride = 0, 1
        self._names: list[str] = []
        self._after: tuple[str, str] | None = None
        self._holding = contextlib.ExitStack()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else out of the folder until the block ends.

        Raises:
            FolderInUseError: another process or thread writes to it.
        """
        with held_checkpoint(self.folder), self._holding:
            yield

    def load(
        self, drawn: Draws, template: Callable[[dict[str, torch.Tensor]], State], frame: torch.Size
    ) -> State | None:
        """Append saved draws to `drawn`; return (tensors, numbers) of the newest block, or None if there is none.

        Arguments:
            drawn: the draws of this run, none so far.
            template: from the tensors of a block to a state of this run, whose tensors have the shapes, and whose
                numbers the kinds, of a saved one.
            frame: shape of one draw of all chains.

        Raises:
            DamagedFileError: a block that is missing or damaged.
            ValueError: a run with other settings, or with more draws.
        """
        newest = ours = None
        for block in read_blocks(self.folder):
            path = self.folder / block.name
            self._require_same(block.run["settings"], path)
            x, u = block.tensors.pop("drawn x", None), block.tensors.pop("drawn u", None)
            if ours is None:
                with _explaining(path):
                    ours = template(block.tensors)
            _require_state(block, path, ours)
            if x is not None:
                _require_draws(x, u, frame, path)
                if len(drawn) and block.stride != drawn.stride:
                    raise _unfit(path, "its draws are further apart, or less far, than those before")
                drawn.stride = block.stride
                drawn.extend(x, u)
            self._take(block)
            newest = block.tensors, block.run["numbers"]
        if drawn.n_draws is not None and len(drawn) > drawn.n_draws:
            raise ValueError(
                f"{self.folder} holds {len(drawn)} draws, more than the {drawn.n_draws} asked for; ask for at least as "
                "many, or delete the folder to start over"
            )
        self.n_saved, self._stride = len(drawn), drawn.stride
        return newest

    def lacks(self, drawn: Draws) -> bool:
        """Whether there are draws that no block holds."""
        return drawn.reached > self.n_saved * self._stride

    def _take(self, block: Block) -> None:
        self._names.append(block.name)
        self._after = (block.name, block.link) if block.stop else None

    def _require_same(self, settings: dict[str, Any], path: Path) -> None:
        ours = json.loads(json.dumps(self.settings))
        sampler = settings.get("sampler")
        if isinstance(sampler, dict) and self.target is not None:
            target = with_hash_of_today(sampler.get("target"), self.target)
            settings = settings | {"sampler": sampler | {"target": target}}
        if settings.items() >= self._earlier.items():
            settings = settings | {name: ours[name] for name in self._earlier}
        differing = [name for name in ours if ours[name] != settings.get(name)]
        if differing:
            others = ", ".join(name + _values(settings.get(name), ours[name]) for name in differing)
            raise ValueError(
                f"{path.parent} holds a run with another {others}; use the settings of that run to go on with it, or "
                "delete the folder to start over"
            )

    def save(self, drawn: Draws, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        """Write the draws that no block holds yet, with the state after them.

        Where somebody deleted blocks of this run meanwhile, or every second draw went, all are written again, as one
        block.

        Raises:
            OSError: they cannot be written; the blocks that are there stay good.
        """
        written_although_deleted(lambda: self._save(drawn, tensors, numbers))

    def _save(self, drawn: Draws, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        self._hold_again()
        is_whole = drawn.stride == self._stride and all((self.folder / name).is_file() for name in self._names)
        start, after = (self.n_saved, self._after) if is_whole else (0, None)
        if len(drawn) > start:
            tensors = tensors | {"drawn x": drawn.x(start), "drawn u": drawn.u(start)}
        run = {"settings": self.settings, "numbers": numbers}
        first, last = start * drawn.stride, drawn.reached
        link = write_block(self.folder, first, last, after, tensors, run, drawn.stride)
        name = block_name(first, last)
        if not is_whole:
            for other in set(self._names) - {name}:
                (self.folder / other).unlink(missing_ok=True)
            self._names = []
        if name not in self._names:
            self._names.append(name)
        self._after = (name, link) if len(drawn) else None
        self.n_saved, self._stride = len(drawn), drawn.stride

    def _hold_again(self) -> None:
        """Hold the folder anew after somebody deleted it."""
        if not (self.folder / LOCK_FILES[0]).exists():
            self._holding.enter_context(held(self.folder))

    def kept(self) -> str:
        """What an interrupt leaves, for its message."""
        if not self._names:
            return "nothing was kept yet"
        what = f"{self.n_saved:,} draws" if self.n_saved else "the warm-up so far"
        return f"the checkpoint in {self.folder} holds {what}"

    def explaining(self) -> contextlib.AbstractContextManager[None]:
        """Say which file it was whose state the block could not put back.

        Raises:
            DamagedFileError: it could not.
        """
        return _explaining(self.folder / self._names[-1])


def _values(theirs: object, ours: object) -> str:
    """Both of a plain setting, in words; hashes, and what has many parts, say nothing."""
    are_plain = all(value is None or type(value) in (int, float) for value in (theirs, ours))
    return f" ({theirs}, here {ours})" if are_plain else ""


def _which(x: torch.Tensor) -> dict[str, Any]:
    whole = hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
    return {"initial positions": whole[:16], "shape": list(x.shape)}


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise _unfit(path, shortened(error)) from None


def _unfit(path: Path, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"{path} is damaged, or of another version: {reason}. Delete it to go on from what is before it, or the folder "
        f"{path.parent} to start over"
    )


def _require_state(block: Block, path: Path, template: State) -> None:
    tensors, numbers = template
    if block.tensors.keys() != tensors.keys():
        raise _unfit(path, f"it holds {shortened(sorted(block.tensors))}, and a state has {sorted(tensors)}")
    for name, ours in tensors.items():
        found = block.tensors[name]
        if found.shape != ours.shape or found.dtype != ours.dtype:
            raise _unfit(
                path,
                f"its {name} are {tuple(found.shape)} of {found.dtype}, those of this run {tuple(ours.shape)} of "
                f"{ours.dtype}",
            )
    ours = json.loads(json.dumps(numbers))
    found = {"n_thinned": 0, "n_warmup_evaluations": 0} | block.run["numbers"]  # that earlier versions lack
    if not _is_alike(found, ours):
        raise _unfit(path, "its numbers are not those of such a run")


def _require_draws(x: torch.Tensor, u: torch.Tensor | None, frame: torch.Size, path: Path) -> None:
    is_right = u is not None and x.shape[1:] == frame and u.shape == x.shape[:2]
    if not is_right or not (x.is_floating_point() and u.is_floating_point()):
        found = f"draws are {tuple(x.shape)}, energies {None if u is None else tuple(u.shape)}"
        raise _unfit(path, f"{found}; a draw of this run is {tuple(frame)}")


def _is_alike(found: object, ours: object) -> bool:
    """Whether a plain value is of the kind of ours: the same entries, finite numbers where there are numbers."""
    if isinstance(ours, bool | str) or ours is None:
        return type(found) is type(ours)
    if isinstance(ours, int):
        return type(found) is int
    if isinstance(ours, float):
        return type(found) in (int, float) and math.isfinite(found)
    if isinstance(ours, list):
        return isinstance(found, list) and len(found) == len(ours) and all(map(_is_alike, found, ours))
    if not isinstance(found, dict):
        return False
    if not ours:  # counts of what was proposed
        return all(_is_alike(value, [0.0, 0]) for value in found.values())
    return found.keys() == ours.keys() and all(_is_alike(found[name], ours[name]) for name in ours)
