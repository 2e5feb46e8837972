"""The folder that a command writes to: held by one process, and files that are not of a command stay as they are."""

from __future__ import annotations

import errno
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ._common.checkpoint_folders import (
    BLOCK,
    OLD_BLOCK,
    STEP,
    WARM_UP,
    delete_checkpoint,
    foreign_files,
    write_with_folder,
)
from ._common.folder_lock import LOCK_FILES, held
from ._common.quoting import shortened
from ._common.sealed_files import DamagedFileError, UnsealedFileWarning, read_json, sealed_json
from ._common.whole_files import delete_unfinished
from .analysis import WeightedTrajectory, write_results
from .analysis.result_files import FIGURES, FRAMES, NUMBERS, REPORT, matching, our_results

__all__ = ["CHECKPOINT", "OutputFolder", "default_folder", "unfinished_training"]

CHECKPOINT = "checkpoint"
_SAMPLER = "sampler.json"
_NOTE = ".in-progress.json"
_LOGS = ("metrics.csv", "tensorboard")
_TRAINED = (*_LOGS, _SAMPLER, "model.safetensors", "system")
_ANALYSED = (*FIGURES, NUMBERS, REPORT)
#: What each command writes.
_WRITES = {"run": (*FRAMES, *_ANALYSED), "sample": (*FRAMES, *_ANALYSED), "analyse": _ANALYSED, "train": _TRAINED}
#: File names of checkpoints by the command that leaves them, and what it does.
_CHECKPOINTS = {"run": (BLOCK, OLD_BLOCK, re.compile(re.escape(WARM_UP))), "train": (STEP,)}
_WORDS = {"run": "run", "train": "training"}
_FINISHED = {"run": "a finished run", "train": "a finished sampler", "sample": "finished results"}
#: What writers of other libraries raise on a full disk, beside OSError.
_OF_WRITERS = (RuntimeError, TypeError, SystemError)
_SAMPLER_ENTRIES = {"format", "method", "preset", "settings", "target", "training"}


class OutputFolder:
    """A folder of results in the hands of one command: checked, begun, claimed, written, finished, in this order.

    A note in the folder says what the command is and which names in the folder are its own, until it is finished. So
    the same command goes on after it was killed, and files of these names that somebody else put there are found.

    Arguments:
        folder: the path; need not exist.
        command: "run", "train", "sample" or "analyse".
        words: what a user types for the same again, or None.

    Attributes:
        checkpoint: folder of the checkpoints of `run` and `train`.
    """

    def __init__(self, folder: str | os.PathLike[str], command: str, words: str | None = None) -> None:
        self.folder, self.command, self.words = Path(folder), command, words
        self.checkpoint = self.folder / CHECKPOINT
        self._claims: list[str] = []
        self._stale: set[str] = set()
        self._noted = self._forgets = False

    @contextmanager
    def checked(self, overwrite: bool = False) -> Iterator[OutputFolder]:
        """Hold the folder for the block, with all that is in it checked first; nothing in it is changed yet.

        Arguments:
            overwrite: whether finished results of the same command may be forgotten.

        Raises:
            NotADirectoryError: it is a file.
            FolderInUseError: another process writes to it.
            FileExistsError: it holds finished results, an unfinished run or training of another command, or files that
                this command would replace and that are not its own.
            OSError: it cannot be written to.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; choose a folder for --output")
        is_new = not self.folder.exists()
        try:
            with held(self.folder):
                self._check(overwrite)
                try:
                    yield self
                finally:
                    self._leave()
        finally:
            if is_new:
                with suppress(OSError):  # the user finds nothing where nothing was done
                    self.folder.rmdir()

    def begin(self) -> None:
        """Write the note, and forget the results that are overwritten, right before the work."""
        if self._noted:
            delete_unfinished(self.folder)
        ours, are_listed = our_results(self.folder)
        if self._forgets and are_listed and self.command != "train":
            self._stale = ours
        self._claims = sorted({*self._claims, *self._ours(), *(_LOGS if self.command == "train" else ())})
        if self._forgets and self.command in _CHECKPOINTS:
            delete_checkpoint(self.checkpoint)  # before the note, which would make it that of this work
        self._write_note()
        if self._forgets:
            # Or this work, killed, would look finished.
            (self.folder / (_SAMPLER if self.command == "train" else NUMBERS)).unlink(missing_ok=True)

    def claim(self) -> None:
        """Take the names of the results, right before they are written.

        Raises:
            FileExistsError: files of these names have come up during the work.
        """
        self._require_free("came up meanwhile")
        self._claims = sorted({*self._claims, *_WRITES[self.command]})
        self._write_note()

    def write(self, wt: WeightedTrajectory, **what: Any) -> dict[str, Path]:
        """What ``write_results`` writes, and once more if the folder was deleted meanwhile."""
        try:
            return write_results(wt, self.folder, **what)
        except FileNotFoundError:
            if (self.folder / _NOTE).exists():
                raise
        except OSError as error:
            if error.errno is not None and error.filename is None:
                error.filename = str(self.folder)
            raise
        except _OF_WRITERS as error:
            if not _is_of_a_writer(error):
                raise
            raise OSError(errno.EIO, f"the results cannot be written ({error})", str(self.folder)) from error
        self._write_note()
        return write_results(wt, self.folder, **what)

    def finish(self) -> list[Path]:
        """Forget the note and the checkpoint, once the results are there; returns what in it is not ours."""
        kept = our_results(self.folder)[0]
        for name in self._stale - kept:  # figures of the results that were replaced, which the new ones do not have
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / _NOTE).unlink(missing_ok=True)
        return delete_checkpoint(self.checkpoint) if self.command in _CHECKPOINTS else []

    def has_checkpoint(self) -> bool:
        """Whether there is something to go on from."""
        return self.command in _CHECKPOINTS and bool(_named(self.checkpoint, self.command))

    def _check(self, overwrite: bool) -> None:
        note, theirs = _note(self.folder), _checkpoint_of(self.folder)
        if theirs == "train" and _our_sampler(self.folder) and self.command != "train":
            theirs = None  # it is finished, and was killed while it cleared up
        if theirs not in (None, self.command):
            how = f" ({note['words']})" if note["words"] else ""
            raise FileExistsError(
                f"{self.folder} holds an unfinished {_WORDS[theirs]}, which stays as it is; go on with it by the "
                f"command that began it{how}, or choose another --output"
            )
        results = our_results(self.folder)[0].intersection(FRAMES)
        if self.command == "analyse" and results:
            raise FileExistsError(
                f"{self.folder} holds the results of a run, whose report would be replaced; choose another --output"
            )
        finished = self._is_finished(note)
        if finished and not overwrite:
            raise FileExistsError(
                f"{self.folder} holds {_FINISHED[self.command]}; choose another --output, or pass --overwrite"
            )
        self._claims = note["files"]
        if not note["command"] and theirs == "train":  # of an earlier version
            self._claims = matching(self.folder, _TRAINED)
        self._require_free("are not of this command")
        self._require_own_checkpoint(theirs, overwrite)
        is_ours = theirs or note["command"] == self.command
        if self.command == "run" and not overwrite and not is_ours and self._has_more():
            raise FileExistsError(
                f"{self.folder} exists and is not empty; choose another --output, or pass --overwrite"
            )
        self._noted = bool(note["command"])
        # What is unfinished is gone on with: the same words, typed again after an interrupt, lose nothing.
        self._forgets = overwrite and finished

    def _is_finished(self, note: dict) -> bool:
        if self.command == "analyse" or note["command"] == self.command:
            return False
        return _our_sampler(self.folder) if self.command == "train" else NUMBERS in our_results(self.folder)[0]

    def _ours(self) -> set[str]:
        """Names in the folder that commands wrote."""
        ours = our_results(self.folder)[0] | set(matching(self.folder, self._claims))
        if _our_sampler(self.folder):
            ours |= set(matching(self.folder, _TRAINED))
        return ours

    def _require_free(self, why: str) -> None:
        foreign = sorted(set(matching(self.folder, _WRITES[self.command])) - self._ours())
        if foreign:
            raise FileExistsError(
                f"{self.folder} has files that {why} and would be replaced: {_list(foreign)}; move them away, or "
                "choose another --output"
            )

    def _require_own_checkpoint(self, theirs: str | None, overwrite: bool) -> None:
        if self.command not in _CHECKPOINTS:
            return
        if self.checkpoint.is_symlink() or (self.checkpoint.exists() and not self.checkpoint.is_dir()):
            raise FileExistsError(f"{self.checkpoint} is a file or a link, and checkpoints go there; move it away")
        foreign = [path.name for path in foreign_files(self.checkpoint)]
        in_the_way = set(foreign) & _named(self.checkpoint, *_CHECKPOINTS)
        # Of a run that goes on, strange files are none of our business, and damaged ones are named by its loader.
        if foreign and (theirs is None or (overwrite and in_the_way)):
            raise FileExistsError(
                f"{self.checkpoint} has files that are not of a checkpoint, or damaged: {_list(foreign)}; move them "
                "away, or choose another --output"
            )

    def _has_more(self) -> bool:
        """Whether there is more than the lock in the folder, and an empty folder of checkpoints."""
        names = {path.name for path in self.folder.iterdir() if path.name not in LOCK_FILES}
        return bool(names - {CHECKPOINT})

    def _write_note(self) -> None:
        entries = {"command": self.command, "words": self.words, "files": self._claims}
        write_with_folder(self.folder / _NOTE, sealed_json(entries))

    def _leave(self) -> None:
        """Take the note away where nothing was kept that it is about."""
        is_empty = self.checkpoint.is_dir() and not any(self.checkpoint.iterdir())
        if not self.has_checkpoint() and not matching(self.folder, self._claims):
            with suppress(OSError):
                (self.folder / _NOTE).unlink(missing_ok=True)
                if is_empty:
                    self.checkpoint.rmdir()


def _is_of_a_writer(error: BaseException) -> bool:
    """Whether another library raised it, while writing, and not our own analysis."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or not trace.tb_frame.f_globals.get("__name__", "").startswith("openmm_diffsampler.")


def default_folder(name: str, ending: str) -> Path:
    """A folder of the working folder, whatever the name is.

    Example:
        >>> default_folder("lj13", "run"), default_folder("../elsewhere", "run")
        (PosixPath('lj13-run'), PosixPath('_._elsewhere-run'))
    """
    from ._common.names import as_name

    return Path(f"{as_name(name)}-{ending}")


def unfinished_training(folder: str | os.PathLike[str]) -> str | None:
    """How to go on with the unfinished training in `folder`, or None where there is none."""
    folder = Path(folder)
    if not folder.is_dir() or (folder / _SAMPLER).exists():
        return None
    note = _note(folder)
    if _checkpoint_of(folder) != "train" and note["command"] != "train":
        return None
    return note["words"] or f"openmm-diffsampler train SYSTEM --output {folder}, with the options that began it"


def _checkpoint_of(folder: Path) -> str | None:
    """The command whose checkpoint is in the folder."""
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_symlink():
        return None
    foreign = {path.name for path in foreign_files(checkpoint)}
    return next((command for command in _CHECKPOINTS if _named(checkpoint, command) - foreign), None)


def _named(checkpoint: Path, *commands: str) -> set[str]:
    """Names of files of a checkpoint of these commands, by the names alone."""
    names = [path.name for path in checkpoint.iterdir()] if checkpoint.is_dir() else []
    patterns = [pattern for command in commands for pattern in _CHECKPOINTS[command]]
    return {name for name in names if any(pattern.fullmatch(name) for pattern in patterns)}


def _note(folder: Path) -> dict:
    try:
        note = _quietly_read(folder / _NOTE)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}; delete this file, and results beside it that are not finished") from None
    files = note.get("files")
    return {
        "command": note.get("command"),
        "words": note.get("words"),
        "files": [str(name) for name in files] if isinstance(files, list) else [],
    }


def _our_sampler(folder: Path) -> bool:
    try:
        return set(_quietly_read(folder / _SAMPLER)) >= _SAMPLER_ENTRIES
    except DamagedFileError:
        return False


def _quietly_read(path: Path) -> dict:
    """Entries of a JSON file, or none where there is no such file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsealedFileWarning)
        try:
            return read_json(path)
        except FileNotFoundError:
            return {}


def _list(names: Sequence[str], most: int = 5) -> str:
    text = ", ".join(shortened(name, 80) for name in names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text
