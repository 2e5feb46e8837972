"""A process that loads what it is asked to, in a child that may crash, hang or ask for too much memory.

Lines of JSON come in, ``{"loader": …, "folder": …, "make": …}``, where "make" asks for a valid folder to be written.
A line of JSON goes out for each: what :func:`_answer` gives, or ``{"died": signal}`` or ``{"hung": true}`` for a child
that is then replaced. Modules are imported once, before the first child, so that a new one costs milliseconds.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .loaders import LOADERS

__all__ = ["SECONDS", "main"]

#: How long a small input may take.
SECONDS = 20.0
#: Memory that it may take, in MB beyond what the modules need.
MEGABYTES = 3000
_LONGEST = 20_000


def digest(value: Any) -> str:
    """A hash of nested numbers, exact in every bit."""
    sha = hashlib.sha256()

    def take(value: Any) -> None:
        if isinstance(value, torch.Tensor | np.ndarray):
            array = np.ascontiguousarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value)
            sha.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        elif isinstance(value, dict):
            take(sorted(value.items()))
        elif isinstance(value, list | tuple):
            sha.update(f"({len(value)}".encode())
            for inside in value:
                take(inside)
        else:
            sha.update(repr(value).encode() + b";")

    take(value)
    return sha.hexdigest()


def _status(name: str) -> float:
    """An entry of this process's status in MB, 0 where there is none."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return float(text.split(f"{name}:", 1)[1].split(None, 1)[0]) / 1024


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    """Digest of the numbers, or what was raised; notes; peak memory in MB and seconds."""
    _forget_peak()
    before, start = _status("VmRSS"), time.perf_counter()
    loader, folder = LOADERS[task["loader"]], Path(task["folder"])
    answer: dict[str, Any] = {"phase": "load"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if task["make"]:
                answer["digest"] = digest(loader.make(folder))
            else:
                loaded = loader.load(folder)
                answer["phase"] = "use"
                answer["digest"] = digest(loader.numbers(loaded))
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            answer |= _told(error)
    answer["notes"] = sorted({warning.category.__name__ for warning in caught})
    answer["seconds"] = time.perf_counter() - start
    answer["megabytes"] = max(0.0, _status("VmHWM") - before)
    return answer


def _told(error: BaseException) -> dict[str, Any]:
    """An error in plain values."""
    text, frames = str(error), traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if "openmm_diffsampler" in frame.filename] or list(frames)
    where = f"{Path(inside[-1].filename).name}:{inside[-1].lineno} {inside[-1].name}"
    is_ours = inside[-1] is frames[-1] and (frames[-1].line or "").startswith("raise ")
    return {
        "error": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "message": text[:_LONGEST],
        "length": len(text),
        "where": where,
        "is_ours": is_ours,
    }


def _serve(incoming: int, outgoing: int, log: str) -> None:
    """Answer lines until there are no more; runs in the child."""
    if sys.platform == "linux":
        limit = int((_status("VmSize") + MEGABYTES) * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    with open(log, "w") as crashes, os.fdopen(incoming) as lines, os.fdopen(outgoing, "w") as answers:
        faulthandler.enable(crashes)
        for line in lines:
            crashes.truncate(0)
            faulthandler.dump_traceback_later(SECONDS - 1, file=crashes)
            answer = _answer(json.loads(line))
            faulthandler.cancel_dump_traceback_later()
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


class _Child:
    """A forked child and the pipes to it."""

    def __init__(self, log: str) -> None:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        self.log, self.process = log, os.fork()
        if self.process == 0:
            os.close(to_write)
            os.close(from_read)
            code = 1
            try:
                _serve(to_read, from_write, log)
                code = 0
            finally:
                os._exit(code)
        os.close(to_read)
        os.close(from_write)
        self.lines, self.answers = os.fdopen(to_write, "w"), os.fdopen(from_read, "rb")

    def ask(self, line: str) -> dict[str, Any]:
        """Its answer, or how it ended."""
        self.lines.write(line)
        self.lines.flush()
        ready, _, _ = select.select([self.answers], [], [], SECONDS)
        answer = self.answers.readline() if ready else b""
        if answer.endswith(b"\n"):
            return json.loads(answer)
        if not ready:
            os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        self.process = 0
        where = Path(self.log).read_text(errors="replace")[:_LONGEST]
        return {"died": os.waitstatus_to_exitcode(status), "where": where} if ready else {"hung": True, "where": where}

    def close(self) -> None:
        self.lines.close()
        if self.process:
            os.waitpid(self.process, 0)
        self.answers.close()


def main() -> None:
    """Read tasks from standard input until it ends."""
    _import_what_is_imported_late()
    with tempfile.TemporaryDirectory() as folder:
        child = None
        for line in sys.stdin:
            if child is None:
                child = _Child(f"{folder}/crash.log")
            answer = child.ask(line)
            if "died" in answer or "hung" in answer:
                child.close()
                child = None
            print(json.dumps(answer), flush=True)
        if child is not None:
            child.close()


def _import_what_is_imported_late() -> None:
    import lightning_fabric.loggers  # noqa: F401
    import mdtraj  # noqa: F401
    import tensorboard  # noqa: F401
    import torch.utils.tensorboard

    torch.set_num_threads(1)


if __name__ == "__main__":
    main()
