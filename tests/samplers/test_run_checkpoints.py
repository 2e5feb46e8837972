"""Checkpoints of training: damage, files of others, other shapes, metrics, a second training, interrupts."""

import csv
import json
import os
import shutil
import signal
import warnings

import pytest
import torch
from safetensors.torch import save_file

from openmm_diffsampler import IDEM, BoltzmannGenerator, GaussianMixture
from openmm_diffsampler._common import whole_files
from openmm_diffsampler._common.folder_lock import FolderInUseError, held
from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning, read_tensors
from openmm_diffsampler.samplers.state_files import load_state, save_state

NEWEST = "step-00000012.0-of-1.safetensors"
MIDDLE = "step-00000006.0-of-1.safetensors"


def tiny(**settings):
    few = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 10}
    target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
    return IDEM(target, **(few | {"width": 8} | settings))


class CutOffError(Exception):
    pass


def fit(folder, *, at_step=None, **options):
    """A short training; `at_step` is called with the number of every step."""
    sampler = tiny()
    loss = sampler._loss

    def watched(run):
        if at_step is not None:
            at_step(run.step + 1)
        return loss(run)

    sampler._loss = watched
    return sampler.fit(12, checkpoint=folder, checkpoint_every=3, metrics_every=2, **options)


def cut_off_at(step):
    def stop(now):
        if now == step:
            raise CutOffError

    return stop


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sampler, the rows of its metrics, and the folder with the checkpoints after steps 9 and 12."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(folder), losses(folder), folder


@pytest.fixture
def trained(whole, tmp_path):
    """A copy of the checkpoints."""
    return shutil.copytree(whole[2], tmp_path / "trained")


def losses(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def numbers(row):
    return {name: float(text) for name, text in row.items() if text}


def assert_same(whole, sampler, folder):
    pairs = zip(whole[0].average.parameters(), sampler.average.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs) and torch.equal(whole[0].tables.size, sampler.tables.size)
    assert whole[0].record["n_evaluations"] == sampler.record["n_evaluations"]
    assert losses(folder) == whole[1] and len(whole[1]) == 6


def test_damage_is_found_named_and_mended_by_the_checkpoint_before(trained, whole):
    path = trained / NEWEST
    content = path.read_bytes()
    for place in range(3, len(content), len(content) // 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        with pytest.raises(DamagedFileError, match=rf"{NEWEST} is damaged .*delete this file to go on from"):
            fit(trained)
    path.unlink()
    assert_same(whole, fit(trained), trained)


def test_rows_of_the_metrics_are_in_the_checkpoint(tmp_path, whole):
    with pytest.raises(CutOffError):
        fit(tmp_path, at_step=cut_off_at(8))
    text = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text.replace("\n2,", "\n2,9"))  # another loss
    assert_same(whole, fit(tmp_path), tmp_path)
    with pytest.raises(CutOffError):
        fit(tmp_path / "again", at_step=cut_off_at(8))
    (tmp_path / "again" / "metrics.csv").unlink()
    assert_same(whole, fit(tmp_path / "again"), tmp_path / "again")


@pytest.mark.parametrize("text", ["mine", "step,loss\n1,2\n", "\nmine", "step,loss,gradient norm\n1,2,3\n", "a\rb"])
def test_metrics_of_somebody_else_are_never_written_over(tmp_path, text):
    (tmp_path / "metrics.csv").write_bytes(text.encode())
    with pytest.raises(FileExistsError, match=r"metrics.csv is not of a training.*move it elsewhere"):
        fit(tmp_path / "checkpoint", metrics=tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == text.encode() and os.listdir(tmp_path) == ["metrics.csv"]


def test_metrics_of_a_training_that_was_killed_early_are_replaced(tmp_path, whole):
    with pytest.raises(CutOffError):
        fit(tmp_path, at_step=cut_off_at(3))
    assert len(losses(tmp_path)) == 1 and not list(tmp_path.glob("step-*"))
    assert_same(whole, fit(tmp_path), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.csv").write_text("\n")  # as earlier versions left it before the first row
    assert_same(whole, fit(tmp_path / "other"), tmp_path / "other")


def test_files_of_others_neither_stop_a_training_nor_are_touched(tmp_path, whole):
    theirs = ("notes.txt", ".DS_Store", "step-abc.safetensors", "step-1.safetensors", "block-foo.safetensors")
    for name in theirs:
        (tmp_path / name).write_text("mine")
    with pytest.raises(CutOffError):
        fit(tmp_path, at_step=cut_off_at(8))
    assert_same(whole, fit(tmp_path), tmp_path)
    assert all((tmp_path / name).read_text() == "mine" for name in theirs)


def test_checkpoints_of_an_earlier_version_are_gone_on_with(tmp_path, whole):
    with pytest.raises(CutOffError):
        fit(tmp_path, at_step=cut_off_at(8))
    state = load_state(tmp_path / MIDDLE)
    state["metrics"] = {name: [total, n] for name, total, n in state["metrics"]["sums"]}
    del state["rank"]
    save_state(tmp_path / MIDDLE, state)
    tensors, entries = read_tensors(tmp_path / MIDDLE)
    save_file(tensors, tmp_path / MIDDLE, {"numbers": entries["numbers"]})
    shutil.copytree(tmp_path, tmp_path / "damaged")
    with pytest.warns(UnsealedFileWarning):
        sampler = fit(tmp_path)
    rows = losses(tmp_path)
    assert [numbers(row) for row in rows] == [numbers(row) for row in whole[1]]
    assert all(
        torch.equal(a, b) for a, b in zip(whole[0].average.parameters(), sampler.average.parameters(), strict=True)
    )
    metrics = tmp_path / "damaged" / "metrics.csv"
    metrics.write_text(metrics.read_text().replace("\n2,", "\n2x,"))
    with warnings.catch_warnings(), pytest.raises(DamagedFileError, match="metrics"):
        warnings.simplefilter("ignore", UnsealedFileWarning)
        fit(tmp_path / "damaged")


def changed(key, value):
    def change(state):
        *outer, last = key.split("/")
        for name in outer:
            state = state[name]
        if value is None:
            del state[last]
        else:
            state[last] = value(state[last]) if callable(value) else value

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed("run", None),
        changed("run", "[1]"),
        changed("run", "no JSON"),
        changed("training", None),
        changed("training/step", "12"),
        changed("training/step", 9),
        changed("training/seconds", float("nan")),
        changed("training/best", None),
        changed("training/n_evaluations", -1),
        changed("training/model", {}),
        changed("training/average", lambda old: {k: v[..., :1] for k, v in old.items()}),
        changed("training/optimizer/0/exp_avg", lambda old: old.flatten()[:1]),
        changed("training/optimizer", lambda old: {"999": old["0"]}),
        changed("training/optimizer", 3),
        changed("training/generator", torch.zeros(3, dtype=torch.uint8)),
        changed("training/sampler", {}),
        changed("training/sampler/buffer", None),
        changed("training/sampler/tables", 5),
        changed("metrics", 7),
        changed("metrics/columns", ["loss"]),
        changed("metrics/rows", {}),
        changed("metrics/sums", [1]),
        changed("rank", 1),
    ],
)
def test_a_sealed_state_of_anything_else_is_refused_before_anything_changes(trained, change):
    state = load_state(trained / NEWEST)
    change(state)
    save_state(trained / NEWEST, state)
    sampler = tiny()
    before = {k: v.clone() for k, v in sampler.model.state_dict().items()}
    with pytest.raises(ValueError, match="damaged"):
        sampler.fit(12, checkpoint=trained)
    assert sampler.record["n_steps"] == 0
    assert all(torch.equal(before[k], v) for k, v in sampler.model.state_dict().items())


def test_a_second_training_in_the_folder_is_told_who_is_there(tmp_path):
    with held(tmp_path), pytest.raises(FolderInUseError, match=f"is in use by process {os.getpid()}"):
        fit(tmp_path)


def test_a_folder_that_is_deleted_while_it_runs_is_made_again(tmp_path, whole):
    folder = tmp_path / "run"

    def delete(step):
        if step == 8:
            shutil.rmtree(folder)
        if step == 11:
            with pytest.raises(FolderInUseError), held(folder):
                pass

    assert_same(whole, fit(folder, at_step=delete), folder)
    assert (folder / NEWEST).exists()


def test_a_disk_that_is_full_leaves_the_checkpoint_good(tmp_path, monkeypatch, whole):
    def full(path):
        if MIDDLE in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files, "_sync", full)
    with pytest.raises(OSError, match=rf"No space left on device: '.*{MIDDLE}'"):
        fit(tmp_path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.glob("*step*")] == ["step-00000003.0-of-1.safetensors"]
    assert_same(whole, fit(tmp_path), tmp_path)


def test_an_interrupt_says_what_was_kept(tmp_path, whole):
    def interrupt(step):
        if step == 8:
            signal.raise_signal(signal.SIGINT)

    def hurry(step):
        if step == 8:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(
        KeyboardInterrupt, match=r"stopped in step 8 of 12; the checkpoint in .* holds the first 6 steps"
    ):
        fit(tmp_path, at_step=hurry)
    with pytest.raises(KeyboardInterrupt, match=r"stopped after 8 of 12 steps; the checkpoint in .* holds all of it"):
        fit(tmp_path, at_step=interrupt)
    assert_same(whole, fit(tmp_path), tmp_path)
    with pytest.raises(KeyboardInterrupt, match="nothing was kept, since no checkpoint"):
        fit(None, at_step=interrupt)


def test_an_interrupt_is_heard_while_the_first_step_is_prepared(tmp_path):
    class Interrupting(GaussianMixture):
        def reduced_potential_and_score(self, x):
            if self.n_evaluations > 500:
                signal.raise_signal(signal.SIGINT)
            return super().reduced_potential_and_score(x)

    target = Interrupting([[-2.0], [2.0]], scales=0.5)
    settings = {"n_exploration": 50_000, "n_chains": 32, "scale": 8.0}
    with pytest.raises(KeyboardInterrupt, match="stopped before the first step; nothing was kept yet"):
        BoltzmannGenerator(target, **settings).fit(5, checkpoint=tmp_path / "checkpoint")
    assert 500 < target.n_evaluations < 1000 and not (tmp_path / "checkpoint").exists()


def test_training_is_the_same_where_gradients_are_off(tmp_path, whole):
    with torch.no_grad():
        assert_same(whole, fit(tmp_path / "a"), tmp_path / "a")
    generator = GaussianMixture([[-2.0], [2.0]], scales=0.5)
    settings = {"n_exploration": 100_000, "n_chains": 64, "n_warmup": 10, "scale": 8.0, "width": 8, "n_layers": 1}
    plain = BoltzmannGenerator(generator, **settings).fit(3)
    with torch.no_grad():
        off = BoltzmannGenerator(generator, **settings).fit(3)
    assert all(torch.equal(a, b) for a, b in zip(plain.average.parameters(), off.average.parameters(), strict=True))
    assert json.dumps(plain.step_size) == json.dumps(off.step_size)
