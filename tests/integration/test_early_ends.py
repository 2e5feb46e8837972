"""Interrupts, full disks and folders that cannot be written to: one line each, and nothing good is lost."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.cli_ending import ends_in_one_line, reading

RUN = ["run", "gmm40", "--chains", "300", "--draws", "8", "--warmup", "2", "--no-progress", "--output", "out"]
FEW = ["buffer_size=64", "batch_size=16", "n_refresh=8", "n_refresh_levels=3", "width=8", "n_layers=1", "n_levels=5"]
TRAIN = ["train", "gmm40", "--method", "idem", "--steps", "4", "--no-progress", "--output", "out"]
TRAIN += [word for setting in FEW for word in ("--setting", setting)]
SAMPLE = ["sample", "gmm40", "-n", "300", "--no-progress", "--output", "out"]
ANALYSE = ["analyse", "frames.npz", "--output", "out"]
COMMANDS = {"run": RUN, "train": TRAIN, "sample": SAMPLE, "analyse": ANALYSE}


def frames(folder: Path) -> None:
    """What there is to analyse."""
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    WeightedTrajectory(x, torch.zeros(300), kind="importance").save(folder / "frames.npz")


def one_line(text: str) -> str:
    """The only line that begins with a label, with no traceback around it."""
    assert "Traceback" not in text
    [line] = [line for line in text.splitlines() if line.startswith(("error: ", "stopped: "))]
    return line


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond that many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


PLACES = {
    "run": ["openmm_diffsampler.load_system", "openmm_diffsampler.running.build_run"],
    "train": ["openmm_diffsampler.load_system"],
    "sample": ["openmm_diffsampler.samplers.load_pretrained"],
    "analyse": ["openmm_diffsampler.WeightedTrajectory.load"],
}
WRITING = "openmm_diffsampler.output_folder.write_results"
BEGUN = "openmm_diffsampler.output_folder.OutputFolder.begin"


ANYWHERE = [(name, place) for name, places in PLACES.items() for place in [*places, BEGUN, WRITING]]


@pytest.mark.parametrize(
    ("name", "place", "number", "code"),
    [(*where, signal.SIGINT, 130) for where in ANYWHERE] + [(name, WRITING, signal.SIGTERM, 143) for name in PLACES],
)
def test_a_signal_anywhere_ends_a_command_in_one_line(command, tmp_path, monkeypatch, name, place, number, code):
    if name == "train" and place == WRITING:
        place = "openmm_diffsampler.samplers.IDEM.save"
    frames(tmp_path)
    monkeypatch.setattr(place, lambda *_, **__: signal.raise_signal(number))
    result = command(*COMMANDS[name])
    line = one_line(result.stderr)
    assert result.exit_code == code and line.startswith("stopped: ")
    is_kept = place in (WRITING, "openmm_diffsampler.samplers.IDEM.save") and name in ("run", "train")
    assert ("goes on from there" in line) == is_kept, line
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert (tmp_path / "out").exists() == is_kept
    again = command(*COMMANDS[name])
    assert again.exit_code == 0 and ("going on from the checkpoint" in again.stdout) == is_kept, again.stderr
    assert not (tmp_path / "out" / ".in-progress.json").exists()


def test_a_signal_that_training_takes_care_of_has_its_exit_code(command, monkeypatch):
    from openmm_diffsampler.samplers import IDEM

    original, calls = IDEM._after_step, []

    def terminated(self, run):
        calls.append(run)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return original(self, run)

    monkeypatch.setattr(IDEM, "_after_step", terminated)
    result = command(*TRAIN)
    assert result.exit_code == 143 and "2 of 4 steps" in one_line(result.stderr)
    assert "goes on from there" in one_line(result.stderr)


def test_a_signal_during_the_imports_is_one_line(tmp_path):
    code = (
        "import os, signal, threading\nfrom openmm_diffsampler.__main__ import main\n"
        "threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", code, *RUN], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 130 and one_line(result.stderr) and len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_the_process_at_once():
    code = (
        "import signal\nfrom openmm_diffsampler.cli_signals import heard\nwith heard():\n    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n    finally:\n        signal.raise_signal(signal.SIGTERM)\n"
        "        print('still here')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (143, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_an_object_is_collected_is_not_lost(number):
    """Python ignores what is raised inside the callback of a weak reference."""
    code = (
        "import signal, time, weakref\nfrom openmm_diffsampler.cli_signals import heard\nclass Thing: pass\n"
        "thing = Thing()\nwith heard() as signals:\n    try:\n"
        f"        kept = weakref.ref(thing, lambda _: signal.raise_signal({int(number)}))\n"
        "        del thing\n        time.sleep(5)\n        print('not heard')\n"
        "    except KeyboardInterrupt:\n        print(signals.exit_code)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{128 + number}\n", "")


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with ends_in_one_line():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    seen = []

    def elsewhere() -> None:
        with ends_in_one_line():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before[1]]  # only the main thread may set them


SIZES = {"run": (10, 1000, 15_000, 60_000), "train": (10, 10_000), "sample": (10, 15_000)}
SIZES["analyse"] = (10, 1000)


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(command, tmp_path, name, size):
    frames(tmp_path)
    with files_of_at_most(size):
        result = command(*COMMANDS[name])
    line = one_line(result.stderr)
    assert result.exit_code == 1 and "File too large" in line and "error: out" in line, line
    assert size > 10 or not (tmp_path / "out").exists()
    again = command(*COMMANDS[name])
    assert again.exit_code == 0, again.stderr
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_what_was_drawn_before_the_disk_was_full_is_drawn_again_bit_for_bit(command, tmp_path):
    assert command(*RUN, "--output", "whole").exit_code == 0
    with files_of_at_most(15_000):
        assert command(*RUN).exit_code == 1
    assert command(*RUN).exit_code == 0
    one, two = (WeightedTrajectory.load(tmp_path / name / "trajectory.npz") for name in ("whole", "out"))
    assert torch.equal(one.x, two.x) and torch.equal(one.reduced_potential, two.reduced_potential)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("good", [0, 3])
def test_a_folder_that_is_or_turns_read_only_is_one_line(command, tmp_path, monkeypatch, name, good):
    frames(tmp_path)
    original, calls = tempfile.mkstemp, []

    def read_only(*arguments, **keywords):
        calls.append(keywords)
        if len(calls) > good:
            raise OSError(30, "Read-only file system", "a temporary name")
        return original(*arguments, **keywords)

    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    result = command(*COMMANDS[name])
    assert result.exit_code == 1 and "out/" in one_line(result.stderr), result.stderr
    assert "Read-only file system" in one_line(result.stderr)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert good or not (tmp_path / "out").exists()
    assert command(*COMMANDS[name]).exit_code == 0


def test_errors_that_nobody_foresaw_are_one_line_too(capsys, monkeypatch):
    import typer

    def ended(error: BaseException) -> str:
        with pytest.raises(typer.Exit), ends_in_one_line() as ending:
            ending.keeps("the frames are in [bold]a.dcd", "analyse them")
            raise error
        return one_line(capsys.readouterr().err)

    assert ended(KeyError("x")).startswith("error: KeyError: 'x' (OPENMM_DIFFSAMPLER_TRACEBACK=1 shows where); the fr")
    assert ended(MemoryError()).startswith("error: there is not enough memory; ask for fewer")
    assert ended(ValueError("two\nlines [/red] \x1b[31m")) == "error: two lines [/red] ?[31m"
    assert ended(OSError(28, "No space left on device", "a.dcd")).endswith("[bold]a.dcd; analyse them")
    assert len(ended(ValueError("x" * 10**6))) < 5000
    assert ended(KeyboardInterrupt("stopped after 3 steps")) == "stopped: after 3 steps; analyse them"
    monkeypatch.setenv("OPENMM_DIFFSAMPLER_TRACEBACK", "1")
    with pytest.raises(KeyError), ends_in_one_line():
        raise KeyError("x")


def test_errors_of_readers_name_the_file():
    for error in (KeyError("bonds"), RecursionError(), AttributeError("x")):
        with pytest.raises(ValueError, match=r"a/b\.dcd cannot be read \(" + type(error).__name__), reading("a/b.dcd"):
            raise error
    with pytest.raises(KeyError, match="a KeyError"), reading("a/b.dcd"):
        raise KeyError("a KeyError of b.dcd")
