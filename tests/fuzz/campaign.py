"""Many mutated folders, loaded in workers; what became of them, by loader."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from random import Random
from typing import Any

from .bombs import bombs
from .classes import BAD, CLASSES, classify
from .loaders import LOADERS
from .mutations import DAMAGED, FORGED, UNSEALED, mutate
from .payloads import payloads

__all__ = ["Report", "campaign"]

_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLES = 8

#: Loader and number of an input; numbers of payloads and bombs are names.
Task = tuple[str, int | str]


@dataclass
class Report:
    """Counts by loader and class, and the first examples of each bad class."""

    seed: int
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    examples: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0

    def add(self, task: Task, what: str, found: str, answer: dict[str, Any]) -> None:
        loader, number = task
        self.counts[loader][found] += 1
        if found in BAD and len(examples := self.examples[loader, found]) < _EXAMPLES:
            told = {k: answer[k] for k in ("error", "where", "died", "length") if k in answer}
            message = answer.get("message", "")[:200]
            examples.append(f"--loader {loader!r} --seed {self.seed} --only {number!r}: {what} -> {told} {message}")

    def bad(self) -> Counter[str]:
        """How many there are of each bad class."""
        total = sum(self.counts.values(), Counter())
        return Counter({name: total[name] for name in BAD if total[name]})

    def table(self) -> str:
        """Markdown, a row a loader."""
        rows = [["", *CLASSES], ["---"] * (len(CLASSES) + 1)]
        total = sum(self.counts.values(), Counter())
        for name, row in [*sorted(self.counts.items()), ("all", total)]:
            rows.append([name, *(f"{row[c]:,}" if row[c] else "–" for c in CLASSES)])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def all_examples(self) -> str:
        return "\n".join(f"{found}: {line}" for (_, found), lines in self.examples.items() for line in lines)


def campaign(
    n: int,
    seed: int = 0,
    *,
    loaders: list[str] | None = None,
    only: int | str | None = None,
    with_bombs: bool = True,
    n_workers: int = 1,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Load `n` mutated folders, shared among the loaders, and every payload.

    Arguments:
        n: mutations; payloads and bombs come on top.
        seed: with the loader and the number of an input it gives the mutation.
        loaders: names of :data:`LOADERS`; by default all.
        only: one input by its number or name.
        with_bombs: also load what asks for much.
        n_workers: processes.
        progress: called with the number of inputs done.
    """
    report, lock = Report(seed), threading.Lock()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        valid = {name: Path(work) / "valid" / re.sub(r"\W+", "-", name) for name in loaders or LOADERS}
        (Path(work) / "valid").mkdir()
        benches = [_Bench(Path(work) / f"worker-{index}", seed, valid) for index in range(n_workers)]
        for name in valid:
            benches[0].make(name)
        tasks: Queue[Task] = Queue()
        for task in _tasks(n, seed, valid, with_bombs):
            if only is None or str(task[1]) == str(only):
                tasks.put(task)

        def serve(bench: _Bench) -> None:
            try:
                while True:
                    task = tasks.get_nowait()
                    result = bench.result(task)
                    with lock:
                        report.add(task, *result)
                        progress(sum(row.total() for row in report.counts.values()))
            except Empty:
                return
            finally:
                bench.close()

        with ThreadPoolExecutor(n_workers) as pool:
            list(pool.map(serve, benches))
    return report


def _suffixes(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


def _tasks(n: int, seed: int, valid: dict[str, Path], with_bombs: bool) -> Iterator[Task]:
    """Payloads and bombs, then mutations of the loaders in turn, by their shares."""
    for name, folder in valid.items():
        suffixes = _suffixes(folder)
        for what, _ in payloads(suffixes, Path("proof")):
            yield name, what
        if with_bombs:
            for what, _ in bombs(folder, suffixes):
                yield name, what
    names = [name for name in valid for _ in range(LOADERS[name].share)]
    Random(seed).shuffle(names)
    for number in range(n):
        yield names[number % len(names)], number


class _Bench:
    """A worker, and the folder that it works on."""

    def __init__(self, folder: Path, seed: int, valid: dict[str, Path]) -> None:
        self.folder, self.seed, self.valid = folder, seed, valid
        self.proof = folder / "proof"
        folder.mkdir()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1", "PYTHONPATH": str(_ROOT)}
        environment |= {"OPENMM_DIFFSAMPLER_CACHE": str(folder / "kernels"), "PYTHONWARNINGS": "ignore"}
        call = [sys.executable, "-m", "tests.fuzz.worker"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.worker = subprocess.Popen(call, cwd=folder, env=environment, text=True, **pipes)
        self.expected: dict[str, str] = {}

    def result(self, task: Task) -> tuple[str, str, dict[str, Any]]:
        """What was done, the class, and the answer."""
        loader, number = task
        if loader not in self.expected:
            self.expected[loader] = self._expected(loader)
        copy = self._copy(loader)
        names = {copy.name, *(path.name for path in copy.rglob("*"))}
        kind, what = self._change(copy, loader, number)
        self.proof.unlink(missing_ok=True)
        answer = self._ask(loader, copy)
        if kind == DAMAGED and not LOADERS[loader].is_sealed:
            kind = UNSEALED
        return what, classify(answer, self.expected[loader], kind, names, self.proof.exists()), answer

    def _change(self, copy: Path, loader: str, number: int | str) -> tuple[str, str]:
        if isinstance(number, int):
            kind, what = mutate(copy, Random(f"{self.seed}/{loader}/{number}"))
            return kind, f"{kind}, {what}"
        suffixes = _suffixes(copy)
        changes = dict(payloads(suffixes, self.proof)) | dict(bombs(copy, suffixes))
        changes[number](copy)
        return FORGED, number

    def make(self, loader: str) -> None:
        """Write the valid folder."""
        answer = self._ask(loader, self.valid[loader], make=True)
        if "digest" not in answer:
            raise AssertionError(f"{loader} cannot be written: {answer}")

    def _expected(self, loader: str) -> str:
        answer = self._ask(loader, self._copy(loader))
        if "digest" not in answer:
            raise AssertionError(f"the undamaged {loader} cannot be loaded: {answer}")
        again = self._ask(loader, self._copy(loader))
        if again.get("digest") != answer["digest"]:
            raise AssertionError(f"{loader} gives other numbers each time")
        return answer["digest"]

    def _copy(self, loader: str) -> Path:
        copy = self.folder / "input"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.valid[loader], copy)
        return copy

    def _ask(self, loader: str, folder: Path, make: bool = False) -> dict[str, Any]:
        self.worker.stdin.write(json.dumps({"loader": loader, "folder": str(folder), "make": make}) + "\n")
        self.worker.stdin.flush()
        line = self.worker.stdout.readline()
        if not line:
            raise AssertionError(f"the worker ended with {self.worker.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self.worker.stdin.close()
        self.worker.wait()
        self.worker.stdout.close()
