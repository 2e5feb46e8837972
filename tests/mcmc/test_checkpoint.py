"""A run that was cut off goes on exactly; gaps, damage and other runs are refused; one run writes to a folder."""

import os
import shutil
import signal
import threading
import warnings

import pytest
import torch
from safetensors.torch import save_file

from openmm_diffsampler import DiffusiveGibbs, GaussianMixture
from openmm_diffsampler._common.folder_lock import FolderInUseError
from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning, read_tensors, write_tensors
from openmm_diffsampler.mcmc.checkpoint import Checkpoint

TARGET = GaussianMixture(torch.tensor([[-2.0], [2.0]]), scales=0.5)
NAMES = [f"block-{k:08d}-{k + 2:08d}.safetensors" for k in range(0, 20, 2)]


class CutOffError(Exception):
    pass


def sample(folder, *, fail_after=None, seed=1, at_sweep=None, **options):
    """A short run; `at_sweep` is called with the number of every sweep."""
    sampler = DiffusiveGibbs(TARGET, [2.0, 0.3], step_size=0.3)
    sweep, calls = sampler._sweep, []

    def watched(*args, **kwargs):
        calls.append(1)
        if len(calls) - 1 == fail_after:
            raise CutOffError
        if at_sweep is not None:
            at_sweep(len(calls))
        return sweep(*args, **kwargs)

    sampler._sweep = watched
    settings = {"n_chains": 5, "n_warmup": 20, "thinning": 2, "seed": seed, "checkpoint": folder} | options
    wt = sampler.sample(torch.zeros(1), 20, **settings)
    return wt, sampler.statistics


@pytest.fixture(scope="module")
def whole():
    return sample(None)


def assert_same(whole, resumed):
    for one, two in zip(whole[1], resumed[1], strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {k: v for k, v in two.items() if k != "seconds"}
    assert torch.equal(whole[0].x, resumed[0].x)
    assert torch.equal(whole[0].reduced_potential, resumed[0].reduced_potential)


@pytest.mark.parametrize("fail_after", [3, 13, 25, 45])
def test_resumed_run_is_the_same(tmp_path, fail_after, whole):
    with pytest.raises(CutOffError):
        sample(tmp_path / "run", fail_after=fail_after)
    assert_same(whole, sample(tmp_path / "run"))


def test_blocks_are_named_by_their_draws(tmp_path):
    sample(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [*NAMES, "warm-up.safetensors"]


def test_other_settings_and_damage_are_refused(tmp_path):
    sample(tmp_path)
    with pytest.raises(ValueError, match=r"another seed \(1, here 2\)"):
        sample(tmp_path, seed=2)
    block = sorted(tmp_path.glob("block-*"))[-1]
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        sample(tmp_path)


def test_any_flipped_bit_is_found(tmp_path, whole):
    sample(tmp_path)
    block = tmp_path / NAMES[5]
    content = block.read_bytes()
    for place in range(3, len(content), 211):
        block.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(DamagedFileError, match=f"{NAMES[5]} is damaged .*Delete {NAMES[5]}, .* to go on from"):
            sample(tmp_path)
    for name in NAMES[5:]:
        (tmp_path / name).unlink()
    assert_same(whole, sample(tmp_path))


@pytest.mark.parametrize("missing", [0, 5, 8])
def test_a_missing_block_is_named_and_what_is_before_it_can_be_used(tmp_path, missing, whole):
    sample(tmp_path)
    (tmp_path / NAMES[missing]).unlink()
    with pytest.raises(DamagedFileError, match=f"lacks the block {NAMES[missing]}. .*Delete {NAMES[missing + 1]}"):
        sample(tmp_path)
    for name in NAMES[missing + 1 :]:
        (tmp_path / name).unlink()
    assert_same(whole, sample(tmp_path))


def test_blocks_of_another_run_and_renamed_ones_are_refused(tmp_path):
    sample(tmp_path / "a")
    sample(tmp_path / "b", checkpoint_every=4)
    shutil.copy(tmp_path / "b" / "block-00000004-00000008.safetensors", tmp_path / "a")
    with pytest.raises(DamagedFileError, match=r"block-00000004-00000008.safetensors and .* overlap"):
        sample(tmp_path / "a")
    shutil.copy(tmp_path / "b" / "block-00000000-00000004.safetensors", tmp_path / "a")
    with pytest.raises(DamagedFileError, match=f"{NAMES[2]} was written after another block-00000000-00000004"):
        sample(tmp_path / "a")
    sample(tmp_path / "c")
    shutil.copy(tmp_path / "c" / NAMES[3], tmp_path / "c" / NAMES[5])
    with pytest.raises(DamagedFileError, match=f"{NAMES[5]} is damaged .its name is that of other draws"):
        sample(tmp_path / "c")
    sample(tmp_path / "d")
    sample(tmp_path / "e")  # seconds differ, and so does the block
    shutil.copy(tmp_path / "e" / NAMES[3], tmp_path / "d" / NAMES[3])
    with pytest.raises(DamagedFileError, match=f"{NAMES[3]} was written after another {NAMES[2]}"):
        sample(tmp_path / "d")


def test_files_of_others_neither_stop_a_run_nor_are_touched(tmp_path, whole):
    theirs = ("notes.txt", ".DS_Store", "block-foo.safetensors", "step-abc.safetensors", "block-1.safetensors")
    for name in theirs:
        (tmp_path / name).write_text("mine")
    with pytest.raises(CutOffError):
        sample(tmp_path, fail_after=45)
    assert_same(whole, sample(tmp_path))
    assert all((tmp_path / name).read_text() == "mine" for name in theirs)


def as_before(folder):
    """Make the files those of an earlier version: counted, without a checksum."""
    names = ["warm-up.safetensors", *sorted(path.name for path in folder.glob("block-*"))]
    for k, name in enumerate(names):
        tensors, entries = read_tensors(folder / name)
        (folder / name).unlink()
        save_file(tensors, folder / f"block-{k:05d}.safetensors", {"run": entries["run"]})


def test_a_run_of_an_earlier_version_goes_on_and_its_gaps_are_refused(tmp_path, whole):
    with pytest.raises(CutOffError):
        sample(tmp_path, fail_after=45)
    as_before(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "gap")
    (tmp_path / "gap" / "block-00003.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"lacks the block block-00003.safetensors"):
        sample(tmp_path / "gap")
    with pytest.warns(UnsealedFileWarning) as heard:
        assert_same(whole, sample(tmp_path))
    assert len(heard) == 1
    assert {"block-00003.safetensors", NAMES[-1]} <= set(os.listdir(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsealedFileWarning)
        assert_same(whole, sample(tmp_path))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, run: t.pop("score"), "it holds"),
        (lambda t, run: t.update(x=torch.zeros(4, 1, dtype=torch.float64)), r"its x are \(4, 1\)"),
        (lambda t, run: t.update({"drawn u": t["drawn u"][:, :2]}), "energies"),
        (lambda t, run: run["numbers"].pop("kernels"), "its numbers"),
        (lambda t, run: run["numbers"].update(n_warmed="5"), "its numbers"),
        (lambda t, run: run["numbers"]["kernels"][0].update(seconds=float("nan")), "its numbers"),
        (lambda t, run: run["numbers"]["kernels"][0].update(adaptive=[]), "its numbers"),
        (lambda t, run: run["numbers"].update(n_warmed=999), "sweeps of the warm-up"),
        (lambda t, run: run.update(settings=[]), "no settings"),
    ],
)
def test_a_sealed_file_of_anything_else_is_refused_by_name(tmp_path, change, reason):
    import json

    sample(tmp_path)
    tensors, entries = read_tensors(tmp_path / NAMES[-1])
    run = json.loads(entries["run"])
    change(tensors, run)
    write_tensors(tmp_path / NAMES[-1], tensors, entries | {"run": json.dumps(run)})
    with pytest.raises(DamagedFileError, match=reason) as raised:
        sample(tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("at", [7, 20, 21, 36, 45, 60])
def test_an_interrupt_keeps_all_of_it_and_says_so(tmp_path, at, whole):
    def interrupt(sweep):
        if sweep == at:
            signal.raise_signal(signal.SIGINT)

    kept = "the warm-up so far" if at < 24 else f"{(at - 20) // 2} draws"
    with pytest.raises(KeyboardInterrupt, match=rf"stopped after .* of 20 draws; the checkpoint in .* holds {kept}"):
        sample(tmp_path, at_sweep=interrupt)
    assert_same(whole, sample(tmp_path))


def test_an_interrupt_in_the_midst_of_sweeps_between_draws_keeps_them(tmp_path):
    def interrupt(sweep):
        if sweep == 28:
            signal.raise_signal(signal.SIGTERM)

    undisturbed = sample(None, thinning=5)
    with pytest.raises(KeyboardInterrupt, match="holds 1 draws"):
        sample(tmp_path, thinning=5, at_sweep=interrupt)
    sweeps = []
    assert_same(undisturbed, sample(tmp_path, thinning=5, at_sweep=sweeps.append))
    assert len(sweeps) == 20 + 100 - 28


@pytest.fixture
def heard_interrupts():
    """A shell that runs the tests in the background has interrupts ignored, and what it starts inherits it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
def test_without_a_checkpoint_an_interrupt_says_that_nothing_was_kept():
    def interrupt(sweep):
        if sweep == 25:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="nothing was kept, since no checkpoint"):
        sample(None, at_sweep=interrupt)


def test_a_second_run_in_the_folder_is_told_who_is_there(tmp_path, whole):
    inside, go_on = threading.Event(), threading.Event()
    results = []

    def wait(sweep):
        if sweep == 45:
            inside.set()
            go_on.wait(60)

    first = threading.Thread(target=lambda: results.append(sample(tmp_path, at_sweep=wait)))
    first.start()
    inside.wait(60)
    with pytest.raises(FolderInUseError, match=f"is in use by process {os.getpid()}"):
        sample(tmp_path)
    go_on.set()
    first.join()
    assert_same(whole, results[0])
    assert_same(whole, sample(tmp_path))


@pytest.mark.parametrize("what", ["folder", "one block"])
def test_what_is_deleted_while_it_runs_is_written_again(tmp_path, what, whole):
    folder = tmp_path / "run"

    def delete(sweep):
        if sweep == 45 and what == "folder":
            shutil.rmtree(folder)
        elif sweep == 45:
            (folder / NAMES[2]).unlink()

    assert_same(whole, sample(folder, at_sweep=delete))
    names = sorted(path.name for path in folder.glob("block-*"))
    assert names[0] == "block-00000000-00000014.safetensors" and names[1:] == NAMES[7:]
    assert_same(whole, sample(folder))


def test_blocks_that_a_larger_one_has_taken_up_do_not_count(tmp_path, whole):
    """A run that was killed after it wrote all draws as one block, and before it deleted the ones inside it."""
    sample(tmp_path / "small")
    sample(tmp_path / "large", checkpoint_every=12)
    (tmp_path / "large" / "block-00000012-00000020.safetensors").unlink()
    for name in NAMES[:6]:
        shutil.copy(tmp_path / "small" / name, tmp_path / "large" / name)
    assert_same(whole, sample(tmp_path / "large"))


def test_a_disk_that_is_full_leaves_the_checkpoint_good(tmp_path, monkeypatch, whole):
    from openmm_diffsampler._common import whole_files

    written = []

    def full(path):
        written.append(path)
        if len(written) == 12:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files, "_sync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*block-0000.*safetensors'"):
        sample(tmp_path)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*")) and len(list(tmp_path.glob("block-*"))) > 3
    assert_same(whole, sample(tmp_path))


def test_draws_of_a_block_are_not_copied(tmp_path):
    sample(tmp_path)
    kept = []

    def watch(self, drawn, *rest):
        found = load(self, drawn, *rest)
        kept.extend(drawn.positions)
        return found

    load = Checkpoint.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "load", watch)
        sample(tmp_path)
    assert len(kept) == 20
    assert len({x.untyped_storage().data_ptr() for x in kept}) == len(NAMES)
