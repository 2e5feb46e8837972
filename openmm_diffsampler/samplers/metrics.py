"""What a training run tells: a CSV file and TensorBoard, averaged over a stretch of steps."""

import csv
import math
import os
from pathlib import Path

__all__ = ["MetricsLog"]


class MetricsLog:
    """Means of the metrics over `every` steps, in ``metrics.csv`` and as TensorBoard events.

    A resumed run forgets the rows after the step it goes on from.

    Arguments:
        folder: where files go, or None to keep rows in memory only.
        every: steps a row.
        step: the step that the run goes on from.
    """

    def __init__(self, folder, every, step=0):
        self.every, self.rows, self._sums = every, [], {}
        self.path = None if folder is None else Path(folder) / "metrics.csv"
        self._board = None
        if folder is None:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        if step and self.path.exists():
            with open(self.path, newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        self._write()
        from lightning_fabric.loggers import TensorBoardLogger

        self._board = TensorBoardLogger(folder, name="tensorboard", version="", purge_step=step + 1)

    def add(self, step, values):
        """Take up the metrics of one step; those that are NaN do not count. Returns the row if one is complete."""
        for name, value in values.items():
            total = self._sums.setdefault(name, [0.0, 0])
            if not math.isnan(value):
                total[0], total[1] = total[0] + value, total[1] + 1
        if step % self.every:
            return None
        row = {"step": step} | {name: total / n if n else math.nan for name, (total, n) in self._sums.items()}
        self._sums = {}
        self.rows.append(row)
        if self.path is not None:
            self._write()
        if self._board is not None:
            self._board.log_metrics({name: value for name, value in row.items() if not math.isnan(value)}, step)
        return row

    def _write(self):
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        unfinished = self.path.with_suffix(".unfinished")
        with open(unfinished, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(unfinished, self.path)

    def state_dict(self):
        """What a stretch has gathered that is not complete."""
        return {name: list(total) for name, total in self._sums.items()}

    def load_state_dict(self, state):
        self._sums = {name: list(total) for name, total in state.items()}

    def close(self):
        if self._board is not None:
            self._board.finalize("success")
