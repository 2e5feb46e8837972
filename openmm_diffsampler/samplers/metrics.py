"""What a training run tells: a CSV file and TensorBoard, averaged over a stretch of steps."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from openmm_diffsampler._common.checkpoint_folders import write_with_folder
from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import DamagedFileError
from openmm_diffsampler._common.whole_files import UNFINISHED

__all__ = ["MetricsLog", "require_own_metrics"]

_FILE = "metrics.csv"
#: Columns that a file of ours begins with, and one that it has besides.
_FIRST, _LAST = ("step", "loss", "gradient norm"), "seconds"
#: Characters that are read of it, to tell.
_LONGEST = 1 << 16

Row = dict[str, float]


def require_own_metrics(folder: str | os.PathLike[str] | None) -> None:
    """Raise if the folder has a ``metrics.csv`` that no training has written, which a training would write over.

    Raises:
        FileExistsError: it has one, going by the names of its columns.
    """
    if folder is None:
        return
    path = Path(folder) / _FILE
    if not os.path.lexists(path) or (path.is_file() and not path.is_symlink() and _is_own(path)):
        return
    raise FileExistsError(
        f"{path} is not of a training, which would write over it; move it elsewhere, or choose another folder"
    )


def _is_own(path: Path) -> bool:
    with open(path, encoding="utf-8", errors="replace", newline="") as file:
        text = file.read(_LONGEST)
    try:
        columns = next(csv.reader([text.partition("\n")[0]]), [])
    except csv.Error:
        return False
    # Nothing, or no more than a line end, is what earlier versions left before the first row.
    return text.strip() in ("", "step") or (tuple(columns[:3]) == _FIRST and _LAST in columns)


class MetricsLog:
    """Means of the metrics over `every` steps, in ``metrics.csv`` and as TensorBoard events.

    Rows are part of the state of a run; the file is written anew from them.

    Arguments:
        folder: where files go, or None to keep rows in memory only.
        every: steps a row.
        step: the step that the run goes on from.
        state: what :meth:`state_dict` gave at that step; that of an earlier version has no rows, and they are read.

    Raises:
        FileExistsError: the folder has a ``metrics.csv`` of somebody else.
        ValueError: a state that is none.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        every: int,
        step: int = 0,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.every, self.rows = every, []
        self._sums: dict[str, list[float]] = {}
        self.path = None if folder is None else Path(folder) / _FILE
        self._board = None
        self._load(state or {}, step)
        if folder is None:
            return
        require_own_metrics(folder)
        Path(folder).mkdir(parents=True, exist_ok=True)
        for left in Path(folder).glob(f".{_FILE}.*{UNFINISHED}.csv"):
            left.unlink(missing_ok=True)
        if self.rows or self.path.exists():
            self._write()
        self._board = self._new_board(step)

    def _new_board(self, step: int) -> Any:
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(self.path.parent, name="tensorboard", version="", purge_step=step + 1)

    def add(self, step: int, values: dict[str, float]) -> Row | None:
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
            self._tell(step, {name: value for name, value in row.items() if not math.isnan(value)})
        return row

    def _names(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.rows for name in row)) or ["step"]

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._names(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_with_folder(self.path, text.getvalue())

    def state_dict(self) -> dict[str, Any]:
        """The rows, and what a stretch has gathered that is not complete."""
        names = self._names()
        values = torch.tensor([[row.get(name, math.nan) for name in names] for row in self.rows], dtype=torch.float64)
        present = torch.tensor([[name in row for name in names] for row in self.rows], dtype=torch.bool)
        return {
            "sums": [[name, *total] for name, total in self._sums.items()],
            "columns": names,
            "rows": {"values": values.reshape(-1, len(names)), "present": present.reshape(-1, len(names))},
        }

    def _load(self, state: dict[str, Any], step: int) -> None:
        """Take up what :meth:`state_dict` gave.

        Raises:
            ValueError: it did not give that.
        """
        if "rows" not in state and step:
            self.rows = self._read(step)
        try:
            if "rows" in state:
                self.rows = _rows_of(state["columns"], state["rows"]["values"], state["rows"]["present"])
                sums = {name: [float(total), int(n)] for name, total, n in state["sums"]}
            else:
                sums = {name: [float(total), int(n)] for name, (total, n) in state.items()}
        except (KeyError, TypeError, IndexError, AttributeError, OverflowError, ValueError) as error:
            raise ValueError(f"the metrics of the checkpoint are damaged ({error})") from None
        if any(row["step"] > step for row in self.rows):
            raise ValueError(f"the metrics of the checkpoint are of later steps than {step}, that of the checkpoint")
        self._sums = sums

    def _read(self, step: int) -> list[Row]:
        """Rows of the file up to a step, as an earlier version left them."""
        if self.path is None or not self.path.is_file():
            return []
        try:
            with open(self.path, encoding="utf-8", newline="") as file:
                rows = [{name: float(text) for name, text in row.items() if text != ""} for row in csv.DictReader(file)]
            return [row | {"step": int(row["step"])} for row in rows if row["step"] <= step]
        except (KeyError, TypeError, OverflowError, ValueError, csv.Error) as error:
            raise DamagedFileError(
                f"{self.path} is damaged ({shortened(error)}), and an earlier version kept its rows nowhere else; move "
                "it elsewhere to go on without them"
            ) from None

    def _tell(self, step: int, values: Row) -> None:
        """Write an event; where somebody deleted those before it, they are gone, and new ones begin."""
        folder = self.path.parent / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._naming(folder):
                self._board.log_metrics(values, step)
        except FileNotFoundError:
            self._board = self._new_board(step)
            with self._naming(folder):
                self._board.log_metrics(values, step)

    def close(self) -> None:
        """Have all events on the disk."""
        if self._board is not None and self.rows:
            with self._naming(self.path.parent / "tensorboard"):
                self._board.finalize("success")

    @staticmethod
    @contextlib.contextmanager
    def _naming(folder: Path) -> Iterator[None]:
        """Have an error say where events cannot be written; the library that writes them says it in other ways."""
        try:
            yield
        except (OSError, ValueError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(folder)) from None


def _rows_of(names: list[str], values: torch.Tensor, present: torch.Tensor) -> list[Row]:
    is_named = "step" in names and all(isinstance(name, str) for name in names)
    if not is_named or values.shape != present.shape or values.shape[1:] != (len(names),):
        raise ValueError("their rows have no values")
    pairs = zip(values.tolist(), present.tolist(), strict=True)
    rows = [{n: v for n, v, here in zip(names, *pair, strict=True) if here} for pair in pairs]
    return [row | {"step": int(row["step"])} for row in rows]
