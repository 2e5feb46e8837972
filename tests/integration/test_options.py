"""Whatever a user types, a command does its work or says in one line what is wrong."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from openmm_diffsampler import WeightedTrajectory

NUMBERS = ["nan", "inf", "-inf", "0", "-1", "-0.0", "1e-300", "1e300", "1", "2", "300", "0.1", "", "abc", "9" * 25]
WORDS = [
    "",
    "auto",
    "none",
    "digs",
    "hmc",
    "idem",
    "[/red]",
    "$\\frac$",
    "é",
    "paper",
    "path",
    "torch",
    "a\0b",
    "x" * 500,
]
FOLDERS = ["out", "file", "folder", "file/x", "", "/proc/x", "/dev/null", "x" * 300, "é", "[bold]"]
SETTINGS = ["batch_size=nan", "learning_rate=fast", "x", "=", "n_levels=1", "width=-1", "a=[", "decay=!!python/x:y"]
TORSIONS = ["phi psi", "phi", "0,1,2,3 1,2,3,4", "0,1 2,3", "a,b c,d", "9,9,9,9 -1,2,3,4", "phi:9 psi:9", ""]
OPTIONS = {
    "run": {
        **dict.fromkeys(["--temperature", "--noise-scale", "--torsion-scale", "--step-size", "--hottest"], NUMBERS),
        **dict.fromkeys(["--leapfrog", "--rungs", "--seed", "--thinning"], NUMBERS),
        **dict.fromkeys(["--method", "--coordinates", "--start", "--backend"], WORDS),
    },
    "train": {"--method": WORDS, "--preset": WORDS, "--precision": WORDS, "--setting": SETTINGS, "--seed": NUMBERS},
    "sample": {"--method": WORDS, "--weights": WORDS, "--levels": NUMBERS, "--refine": NUMBERS, "--seed": NUMBERS},
    "analyse": {"--torsions": TORSIONS, "--name": WORDS},
}
SUBJECTS = {
    "run": ["gmm40", "dw4", "file", "folder", "nosuch", "", "./x"],
    "train": ["file", "folder", "nosuch", "lj13"],
    "sample": ["gmm40", "file", "folder", "nosuch", "./x", ""],
    "analyse": ["frames.npz", "file", "folder", "nosuch.dcd", "frames.weights.npz", ""],
}
SMALL = {
    "run": ["--chains", "2", "--draws", "2", "--warmup", "1", "--no-progress"],
    "train": ["--steps", "1", "--no-progress", "--setting", "no_such_setting=1"],
    "sample": ["-n", "4", "--no-progress", "--compare", "0"],
    "analyse": [],
}


@pytest.mark.parametrize("seed", [0, pytest.param(range(1, 20), marks=pytest.mark.slow)])
def test_random_options(command, tmp_path, seed):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    for number in [seed] if isinstance(seed, int) else seed:
        choices = random.Random(number)
        for _ in range(60):
            for path in tmp_path.iterdir():  # every command finds the same
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            (tmp_path / "folder").mkdir()
            (tmp_path / "file").write_text("mine")
            WeightedTrajectory(x, torch.zeros(20), kind="importance").save(tmp_path / "frames.npz")
            name = choices.choice(list(OPTIONS))
            words = [name, *SMALL[name], choices.choice(SUBJECTS[name])]
            for option in choices.sample(list(OPTIONS[name]), choices.choice([0, 1, 1, 2])):
                words += [option, choices.choice(OPTIONS[name][option])]
            words += ["--output", choices.choice(FOLDERS)] if choices.random() < 0.2 else []
            result = command(*words)
            errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
            assert result.exit_code in (0, 1, 2) and len(errors) == (result.exit_code == 1), (words, result.stderr)
            assert "Traceback" not in result.stderr + result.stdout, (words, result.stderr)
            assert "shows where" not in result.stderr, (words, result.stderr)  # that is for errors nobody foresaw
            assert Path("file").read_text() == "mine", words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "nan"], "--temperature is nan"),
        (["--temperature", "-300"], "--temperature is -300.0; give a number above zero"),
        (["--temperature", "0"], "--temperature is 0.0"),
        (["--noise-scale", "nan"], "--noise-scale is nan"),
        (["--noise-scale", "0.1", "--noise-scale", "-1"], "--noise-scale is -1.0"),
        (["--step-size", "inf"], "--step-size is inf"),
        (["--torsion-scale", "-1"], "--torsion-scale is -1.0; give a number of zero or more"),
        (["--hottest", "nan"], "--hottest is nan"),
        (["--hottest", "200", "--temperature", "300"], "leads nowhere"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_work(command, tmp_path, words, message):
    (tmp_path / "out").mkdir()
    result = command("run", "alanine-dipeptide-vacuum", *words, "--output", "out")
    assert result.exit_code == 1 and message in result.stderr, result.stderr
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", b"not frames at all" * 99])
def test_damaged_frames_are_one_line_with_their_name(command, tmp_path, damage):
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    WeightedTrajectory(x, torch.zeros(20), kind="importance").save(tmp_path / "frames.npz")
    (tmp_path / "frames.npz").write_bytes(damage)
    result = command("analyse", "frames.npz")
    assert result.exit_code == 1 and len(result.stderr.splitlines()) == 1 and "frames.npz" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.npz"]


def test_code_in_files_needs_trust(command, tmp_path, monkeypatch):
    import openmm_diffsampler

    seen = []

    def load(name, *, trust=False):
        seen.append((str(name), trust))
        raise ValueError("mine holds code")

    monkeypatch.setattr(openmm_diffsampler, "load_system", load)
    monkeypatch.setattr(openmm_diffsampler.samplers, "load_sampler", load)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sampler.json").touch()
    for name in ("run", "train", "sample"):
        assert "mine holds code" in command(name, "mine").stderr
        assert "mine holds code" in command(name, "mine", "--trust").stderr
    assert seen == [("mine", False), ("mine", True)] * 3
