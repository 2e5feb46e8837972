"""Checkpoints of a training run, one file a process."""

import dataclasses
import json
import re
from pathlib import Path

from .state_files import load_state, save_state

__all__ = ["RunCheckpoints"]

#: Checkpoints that are kept.
_KEPT = 2


class RunCheckpoints:
    """A folder of files ``step-00001000.0-of-1.safetensors``, one a process, each written whole or not at all."""

    def __init__(self, folder, training):
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

    def _file(self, step, rank):
        return self.folder / f"step-{step:08d}.{rank}-of-{self.training.n_processes}.safetensors"

    def _steps(self):
        """Steps that every process has a file of, rising."""
        steps = {int(re.match(r"step-(\d+)", path.name)[1]) for path in self.folder.glob("step-*.safetensors")}
        ranks = range(self.training.n_processes)
        return sorted(step for step in steps if all(self._file(step, rank).exists() for rank in ranks))

    def newest(self):
        """The last step with a checkpoint, or None."""
        return max(self._steps(), default=None)

    def load(self):
        """Go on from the newest checkpoint, if there is one; returns what the metrics had gathered since a row."""
        step = self.newest()
        if step is None:
            others = sorted(self.folder.glob("step-*.safetensors"))
            if others:
                raise ValueError(f"{self.folder} holds a run of another number of processes ({others[-1].name})")
            return None
        path = self._file(step, self.training.rank)
        try:
            saved = load_state(path)
        except ValueError as error:
            raise ValueError(f"{error}; delete this file to go on from the checkpoint before it") from None
        theirs = json.loads(saved["run"])
        differing = [name for name in self.run if self.run[name] != theirs.get(name)]
        if differing:
            raise ValueError(
                f"{self.folder} holds a run with other {', '.join(differing)}; use those to go on with it, or delete "
                "the folder to start over"
            )
        self.training.load_state(saved["training"])
        return saved.get("metrics", {})

    def save(self, metrics):
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {"run": json.dumps(self.run), "training": self.training.state(), "metrics": metrics}
        save_state(self._file(self.training.step, self.training.rank), state)
        self.training.fabric.barrier()
        # Only files of its own, so that no process waits for or trips over another.
        ours = sorted(self.folder.glob(f"step-*.{self.training.rank}-of-{self.training.n_processes}.safetensors"))
        for path in ours[:-_KEPT]:
            path.unlink(missing_ok=True)
