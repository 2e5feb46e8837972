"""What commands do with folders that hold something already."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch

from openmm_diffsampler import WeightedTrajectory, cli_samplers, output_folder
from openmm_diffsampler._common.checkpoint_folders import MAKER
from openmm_diffsampler._common.folder_lock import held
from openmm_diffsampler._common.sealed_files import write_tensors
from openmm_diffsampler.analysis import write_results
from openmm_diffsampler.analysis.result_files import our_results
from openmm_diffsampler.mcmc.draws import Draws
from openmm_diffsampler.output_folder import OutputFolder, unfinished_training
from tests.integration.shell import process

RUN = ["run", "gmm40", "--chains", "20", "--draws", "5", "--warmup", "2", "--no-progress", "--output", "out"]
FEW = ["buffer_size=64", "batch_size=16", "n_refresh=8", "n_refresh_levels=3", "width=8", "n_layers=1", "n_levels=5"]
TRAIN = ["train", "gmm40", "--method", "idem", "--steps", "2", "--no-progress", "--output", "out"]
TRAIN += [word for setting in FEW for word in ("--setting", setting)]
SAMPLE = ["sample", "gmm40", "-n", "20", "--no-progress", "--output", "out"]


def files(folder: Path) -> dict[str, bytes]:
    """Contents of all files below the folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def checkpoint_file(folder: Path, name: str) -> None:
    """A file of a checkpoint, as this package writes them."""
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "checkpoint" / name, {"x": torch.zeros(1)}, MAKER)


BLOCK, STEP = "block-00000000-00000004.safetensors", "step-00000001.0-of-1.safetensors"


def results(folder: Path) -> None:
    """Results of twenty frames of a density."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    write_results(WeightedTrajectory(x, torch.zeros(20), kind="importance"), folder, name="gmm40")


@pytest.mark.parametrize("words", [RUN, [*RUN, "--overwrite"], TRAIN, [*TRAIN, "--overwrite"]])
def test_a_checkpoint_folder_of_the_users_own_is_refused_before_any_work(command, tmp_path, words):
    mine = tmp_path / "out" / "checkpoint" / "my_network.pt"
    mine.parent.mkdir(parents=True)
    mine.write_text("months of work")
    result = command(*words)
    assert result.exit_code == 1 and "my_network.pt" in result.stderr and "move them away" in result.stderr
    assert files(tmp_path) == {"out/checkpoint/my_network.pt": b"months of work"}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (TRAIN, "metrics.csv"),
        ([*TRAIN, "--overwrite"], "model.safetensors"),
        (TRAIN, "sampler.json"),
        (TRAIN, "system/topology.pdb"),
        (TRAIN, "tensorboard/events"),
        ([*RUN, "--overwrite"], "trajectory.dcd"),
        ([*RUN, "--overwrite"], "diagnostics.json"),
        (SAMPLE, "report.html"),
        ([*SAMPLE, "--overwrite"], "weights.png"),
    ],
)
def test_files_of_the_users_own_that_would_be_replaced_are_refused(command, tmp_path, words, name):
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    result = command(*words)
    assert result.exit_code == 1 and name.split("/")[0] in result.stderr and "Traceback" not in result.stderr
    assert files(tmp_path) == {f"out/{name}": b"mine"}


def test_analyses_replace_analyses_and_nothing_else(command, tmp_path):
    assert command(*RUN).exit_code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    refused = command("analyse", "out/trajectory.npz", "--output", "mine")
    assert refused.exit_code == 1 and "report.html" in refused.stderr
    assert files(tmp_path / "mine") == {"report.html": b"mine"}
    for _ in range(2):
        assert command("analyse", "out/trajectory.npz", "--output", "analysis").exit_code == 0


def test_overwriting_replaces_results_and_leaves_other_files(command, tmp_path):
    out = tmp_path / "out"
    results(out)
    (out / "notes.txt").write_text("mine")
    old = files(out)
    assert "weights.png" not in old or our_results(out)[1]
    refused = command(*RUN)
    assert refused.exit_code == 1 and "--overwrite" in refused.stderr and files(out) == old
    assert command(*RUN, "--overwrite").exit_code == 0
    new = files(out)
    assert new["notes.txt"] == b"mine" and new["diagnostics.json"] != old["diagnostics.json"]
    # What the old results had and the new ones have not is gone, or it would look like theirs.
    listed = set(json.loads(new["diagnostics.json"])["files"])
    assert set(new) == listed | {"notes.txt"}
    (out / "comparison.png").write_text("mine")
    refused = command(*RUN, "--overwrite")
    assert refused.exit_code == 1 and "comparison.png" in refused.stderr
    assert files(out) == new | {"comparison.png": b"mine"}


def test_an_interrupted_overwriting_run_goes_on_when_it_is_repeated(command, tmp_path, monkeypatch):
    """The same words again lose nothing of what was interrupted, and give what the whole run gives."""
    words = ["run", "gmm40", "--chains", "20", "--draws", "40", "--warmup", "2", "--no-progress"]
    assert command(*words, "--output", "whole").exit_code == 0
    assert command(*RUN).exit_code == 0
    append, calls = Draws.append, []

    def interrupted(self, *args):
        if self.n_draws == 40:  # and no short run that settings come from
            calls.append(1)
            if len(calls) == 30:
                signal.raise_signal(signal.SIGINT)
        append(self, *args)

    monkeypatch.setattr(Draws, "append", interrupted)
    first = command(*words, "--output", "out", "--overwrite")
    assert (first.exit_code, len(calls)) == (130, 30), first.stderr
    assert list((tmp_path / "out" / "checkpoint").glob("block-*"))
    again = command(*words, "--output", "out", "--overwrite")
    assert again.exit_code == 0 and "going on from the checkpoint" in again.stdout and len(calls) == 40
    ours, theirs = (WeightedTrajectory.load(tmp_path / name / "trajectory.npz") for name in ("whole", "out"))
    assert torch.equal(ours.x, theirs.x)


def test_a_run_keeps_a_copy_that_the_user_made(command, tmp_path):
    """Also where the results are of an earlier version, whose numbers do not list their files."""
    assert command(*RUN).exit_code == 0
    numbers = json.loads((tmp_path / "out" / "diagnostics.json").read_text())
    del numbers["sha256"], numbers["files"]
    (tmp_path / "out" / "diagnostics.json").write_text(json.dumps(numbers))
    (tmp_path / "out" / "trajectory.backup.dcd").write_text("mine")
    assert command(*RUN, "--overwrite").exit_code == 0
    assert (tmp_path / "out" / "trajectory.backup.dcd").read_text() == "mine"


def test_an_analysis_does_not_replace_the_report_of_a_run(command, tmp_path):
    assert command(*RUN).exit_code == 0
    before = files(tmp_path)
    refused = command("analyse", "out/trajectory.npz", "--output", "out")
    assert refused.exit_code == 1 and "whose report would be replaced" in refused.stderr
    assert files(tmp_path) == before


def test_a_rank_without_a_world_is_that_of_a_queue(command, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert command(*TRAIN).exit_code == 0 and (tmp_path / "out" / "sampler.json").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not cli_samplers._is_first_process()
    monkeypatch.setenv("WORLD_SIZE", "many")
    refused = command(*TRAIN, "--overwrite")
    assert refused.exit_code == 1 and "WORLD_SIZE=many" in refused.stderr


def test_errors_of_an_analysis_are_none_of_the_disk(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise KeyError("phi")

    monkeypatch.setattr(output_folder, "write_results", broken)
    with pytest.raises(KeyError):
        OutputFolder(tmp_path, "run").write(None)


def test_numbers_that_were_changed_are_not_ours(tmp_path):
    results(tmp_path)
    ours, are_listed = our_results(tmp_path)
    assert are_listed and {"diagnostics.json", "report.html", "trajectory.npz", "energy.png"} >= ours - {"weights.png"}
    numbers = json.loads((tmp_path / "diagnostics.json").read_text())
    del numbers["sha256"], numbers["files"]  # as an earlier version wrote it
    (tmp_path / "diagnostics.json").write_text(json.dumps(numbers))
    assert our_results(tmp_path) == (ours, False)
    for changed in ("{}", "[1]", "{", json.dumps(numbers | {"versions": 3}), json.dumps(numbers | {"sha256": "0"})):
        (tmp_path / "diagnostics.json").write_text(changed)
        assert our_results(tmp_path) == (set(), False), changed


@pytest.mark.parametrize(
    ("words", "name", "what"),
    [
        ([*RUN, "--overwrite"], STEP, "unfinished training"),
        (RUN, STEP, "unfinished training"),
        (SAMPLE, STEP, "unfinished training"),
        ([*TRAIN, "--overwrite"], BLOCK, "unfinished run"),
        (TRAIN, BLOCK, "unfinished run"),
    ],
)
def test_unfinished_work_of_another_command_is_left_alone(command, tmp_path, words, name, what):
    checkpoint_file(tmp_path / "out", name)
    before = files(tmp_path)
    result = command(*words)
    assert result.exit_code == 1 and what in result.stderr and "stays as it is" in result.stderr
    assert files(tmp_path) == before


def test_an_unfinished_run_goes_on_with_strange_files_in_its_checkpoint(command, tmp_path, monkeypatch):
    monkeypatch.setattr(OutputFolder, "write", lambda *_, **__: exec("raise OSError(28, 'No space left on device')"))
    full = command(*RUN)
    assert full.exit_code == 1 and "No space left" in full.stderr and "goes on from there" in full.stderr
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "checkpoint" / "notes.txt").write_text("mine")
    again = command(*RUN)
    assert again.exit_code == 0 and "going on from the checkpoint" in again.stdout and "notes.txt" in again.stdout
    assert files(tmp_path / "out" / "checkpoint") == {"notes.txt": b"mine"}
    assert not (tmp_path / "out" / ".in-progress.json").exists()


def test_files_that_come_up_during_the_work_are_kept(tmp_path):
    out = OutputFolder(tmp_path / "out", "run")
    with out.checked():
        out.begin()
        (tmp_path / "out" / "report.html").write_text("mine")
        with pytest.raises(FileExistsError, match=r"came up meanwhile.*report\.html"):
            out.claim()
    # Nor does a killed command take names that it had not begun to write to.
    checkpoint_file(tmp_path / "out", BLOCK)
    with pytest.raises(FileExistsError, match=r"report\.html"), OutputFolder(tmp_path / "out", "run").checked():
        pass


def test_results_that_a_killed_command_had_half_written_are_its_own(tmp_path):
    out = OutputFolder(tmp_path / "out", "run")
    with out.checked():
        out.begin()
        checkpoint_file(tmp_path / "out", BLOCK)
        out.claim()
        (tmp_path / "out" / "trajectory.dcd").write_text("half")
    with OutputFolder(tmp_path / "out", "run").checked():
        pass
    results(tmp_path / "out")  # and even whole, as long as the note is there
    with OutputFolder(tmp_path / "out", "run").checked():
        pass


def test_a_folder_where_nothing_was_done_is_not_left_behind(command, tmp_path):
    result = command("run", "gmm40", "--method", "tempering", "--output", "a/out")
    assert result.exit_code == 1 and not (tmp_path / "a" / "out").exists()
    (tmp_path / "file").write_text("mine")
    for words in (RUN, TRAIN, SAMPLE):
        result = command(*words[:-1], "file") if words[-1] == "out" else command(*words, "--output", "file")
        assert result.exit_code == 1 and "file is a file" in result.stderr
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "checkpoint").symlink_to(tmp_path / "a")
    result = command("run", "gmm40", "--output", "links")
    assert result.exit_code == 1 and "link" in result.stderr


@pytest.mark.parametrize("words", [RUN, TRAIN, SAMPLE])
def test_one_process_has_the_folder(command, tmp_path, words):
    with held(tmp_path / "out"):
        result = command(*words)
    assert result.exit_code == 1 and f"in use by process {os.getpid()}" in result.stderr
    assert command(*words).exit_code == 0
    assert not {".in-use.lock", ".in-use.json", ".in-progress.json"} & {p.name for p in (tmp_path / "out").iterdir()}


def test_of_two_runs_in_one_folder_one_is_refused(tmp_path):
    calls = [
        subprocess.Popen(
            process(*RUN, "--draws", "200", "--seed", seed), cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        for seed in ("1", "2")
    ]
    errors = [call.communicate()[1] for call in calls]
    refused = [i for i, call in enumerate(calls) if call.returncode]
    # A machine that is busy may have run them one after the other: the second then finds finished results.
    assert len(refused) == 1 and ("in use by process" in errors[refused[0]] or "finished run" in errors[refused[0]])
    numbers = json.loads((tmp_path / "out" / "diagnostics.json").read_text())
    assert numbers["settings"]["seed"] == 2 - refused[0]


def test_a_folder_that_was_deleted_meanwhile_is_made_again(command, tmp_path, monkeypatch):
    from openmm_diffsampler import output_folder

    original, calls = output_folder.write_results, []

    def deleted_at_first(wt, folder, **what):
        calls.append(folder)
        if len(calls) == 1:
            shutil.rmtree(folder)
            raise FileNotFoundError(2, "No such file or directory", str(folder / "energy.png"))
        return original(wt, folder, **what)

    monkeypatch.setattr(output_folder, "write_results", deleted_at_first)
    assert command(*RUN).exit_code == 0 and len(calls) == 2
    assert (tmp_path / "out" / "diagnostics.json").exists()


def test_sampling_with_an_unfinished_training_says_how_to_finish_it(command, tmp_path):
    assert command(*TRAIN, "--output", "done").exit_code == 0 and unfinished_training(tmp_path / "done") is None
    for name, text in (("out", "--steps 7"), ("my folder-idem", "SYSTEM --output my folder-idem")):
        checkpoint_file(tmp_path / name, STEP)
        if name == "out":
            out = OutputFolder(tmp_path / name, "train", "openmm-diffsampler train gmm40 --steps 7")
            with out.checked():
                out.begin()
        result = command("sample", name)
        assert result.exit_code == 1 and "is unfinished" in result.stderr and text in result.stderr, result.stderr
    for name, text in (
        ("./nowhere", "there is no folder"),
        ("nowhere", "there is no built-in system 'nowhere'"),
        ("empty", "no trained sampler"),
        ("file", "is a file"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "file").touch()
        result = command("sample", name)
        assert result.exit_code == 1 and text in result.stderr, result.stderr


def test_the_processes_of_torchrun_leave_the_folder_to_the_first(command, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_samplers, "_is_first_process", lambda: False)
    with held(tmp_path / "out"):
        result = command(*TRAIN)
    assert result.exit_code == 0 and not (tmp_path / "out" / "sampler.json").exists(), result.stderr
