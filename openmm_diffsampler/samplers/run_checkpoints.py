"""Checkpoints of a training run, one file a process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openmm_diffsampler._common.checkpoint_folders import STEP, held_checkpoint
from openmm_diffsampler._common.folder_lock import LOCK_FILES, held
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError

from .metrics import MetricsLog
from .state_files import load_state, save_state
from .training_states import require_training_state

if TYPE_CHECKING:
    from .training import Training

__all__ = ["RunCheckpoints"]

#: Checkpoints that are kept.
_KEPT = 2
#: What a state raises that is not what it was taken for.
_UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


class RunCheckpoints:
    """A folder of files ``step-00001000.0-of-1.safetensors``, one a process, each written whole and sealed.

    Other files in it are left alone. The first process holds the folder while the training runs.

    Arguments:
        folder: where they are; made if absent.
        training: the :class:`~openmm_diffsampler.samplers.training.Training`.
    """

    def __init__(self, folder: str | os.PathLike[str], training: Training) -> None:
        self.folder, self.training = Path(folder), training
        sampler = training.sampler
        run = {
            "method": sampler.method,
            "settings": dataclasses.asdict(sampler.settings),
            "target": sampler.sampled.identity(),
            "seed": sampler.seed,
            "steps": training.n_steps,
            "processes": training.n_processes,
            "precision": type(training.fabric._precision).__name__ + str(training.fabric._precision.precision),
        }
        self.run = json.loads(json.dumps(run))
        self._holding = contextlib.ExitStack()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other trainings out of the folder until the block ends.

        Raises:
            FolderInUseError: another one is at work in it.
        """
        if self.training.rank:
            yield
            return
        with held_checkpoint(self.folder), self._holding:
            yield

    def _file(self, step: int, rank: int) -> Path:
        return self.folder / f"step-{step:08d}.{rank}-of-{self.training.n_processes}.safetensors"

    def _files(self) -> list[tuple[int, int, int, Path]]:
        """Step, rank, processes and path of every file whose name is that of a checkpoint, rising."""
        found = ((STEP.fullmatch(path.name), path) for path in self.folder.glob("step-*.safetensors"))
        return sorted((*map(int, match.groups()), path) for match, path in found if match and path.is_file())

    def _steps(self) -> list[int]:
        """Steps that every process has a file of, rising."""
        n = self.training.n_processes
        ranks: dict[int, set[int]] = {}
        for step, rank, processes, _ in self._files():
            if processes == n:
                ranks.setdefault(step, set()).add(rank)
        return sorted(step for step, here in ranks.items() if here >= set(range(n)))

    def newest(self) -> int | None:
        """The last step with a checkpoint, or None."""
        return max(self._steps(), default=None)

    def load(self) -> dict[str, Any] | None:
        """Go on from the newest checkpoint, if there is one; returns what the metrics had gathered.

        Raises:
            DamagedFileError: it is not what was written; nothing of the training has changed.
            ValueError: it is of another run, or of another number of processes.
        """
        step = self.newest()
        if step is None:
            self._require_none()
            return None
        path = self._file(step, self.training.rank)
        try:
            saved = load_state(path)
            theirs = self._run_of(saved)
        except (DamagedFileError, *_UNFIT) as error:
            raise self._damaged(path, error) from None
        differing = [name for name in self.run if self.run[name] != theirs.get(name)]
        if differing:
            raise ValueError(
                f"{self.folder} holds a run with other {', '.join(differing)}; use those to go on with it, or delete "
                "the folder to start over"
            )
        try:
            require_training_state(saved["training"], self.training)
            if saved["training"]["step"] != step or saved.get("rank", self.training.rank) != self.training.rank:
                raise ValueError("it is the checkpoint of another step or process under this name")
            metrics = saved.get("metrics", {})
            if not isinstance(metrics, dict):
                raise ValueError("its metrics are no entries")
            MetricsLog(None, 1, step, metrics)  # raises what has to be raised before anything changes
            self.training.load_state(saved["training"])
        except _UNFIT as error:
            raise self._damaged(path, error) from None
        return metrics

    def _require_none(self) -> None:
        others = self._files()
        if not others:
            return
        if all(n == self.training.n_processes for _, _, n, _ in others):
            reason = f"has no step that all {self.training.n_processes} processes have a file of"
        else:
            reason = "holds a run of another number of processes"
        raise ValueError(f"{self.folder} {reason} ({others[-1][-1].name}); delete the folder to start over")

    @staticmethod
    def _run_of(saved: dict[str, Any]) -> dict[str, Any]:
        run = json.loads(saved["run"])
        if not isinstance(run, dict):
            raise ValueError("it has no settings of a run")
        return run

    def _damaged(self, path: Path, error: Exception) -> DamagedFileError:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        reason = reason.removeprefix(f"{path} is damaged ").strip("()")
        return DamagedFileError(
            f"{path} is damaged ({shortened(reason)}); delete this file to go on from the checkpoint before it, or the "
            f"folder {self.folder} to start over"
        )

    def save(self, metrics: dict[str, Any]) -> None:
        """Write the checkpoint of this step, and delete those of this process that are older than the one before.

        Raises:
            OSError: it cannot be written; the ones before stay good.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.training.rank and not (self.folder / LOCK_FILES[0]).exists():  # somebody deleted the folder
            self._holding.enter_context(held(self.folder))
        state = {
            "run": json.dumps(self.run),
            "rank": self.training.rank,
            "training": self.training.state(),
            "metrics": metrics,
        }
        save_state(self._file(self.training.step, self.training.rank), state)
        self.training.fabric.barrier()
        # Only files of its own, so that no process waits for or trips over another.
        us = self.training.rank, self.training.n_processes
        ours = [path for _, *whose, path in self._files() if tuple(whose) == us]
        for path in ours[:-_KEPT]:
            path.unlink(missing_ok=True)
