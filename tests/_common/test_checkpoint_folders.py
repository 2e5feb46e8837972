"""What is deleted of a checkpoint: what is provably of this package, and nothing else."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from openmm_diffsampler._common.checkpoint_folders import MAKER, delete_checkpoint, foreign_files, held_checkpoint
from openmm_diffsampler._common.folder_lock import FolderInUseError, held
from openmm_diffsampler._common.sealed_files import write_tensors

ONE = {"x": torch.ones(2)}
OURS = (
    "block-00000000-00000002.safetensors",
    "warm-up.safetensors",
    "step-00000010.0-of-1.safetensors",
    "step-00000010.1-of-2.safetensors",
)
HALF_WRITTEN = (
    ".block-00000000-00000002.safetensors.ab_1cd2e.unfinished.safetensors",
    "..in-use.json.abcdefgh.unfinished.json",
    "block-00003.unfinished",
    "step-00000020.0-of-1.unfinished",
)


def fill(folder):
    for name in OURS:
        write_tensors(folder / name, ONE, MAKER)
    for name in HALF_WRITTEN:
        (folder / name).write_bytes(b"half")
    run = {"settings": {}, "numbers": {}}
    save_file(ONE, folder / "block-00000.safetensors", {"run": json.dumps(run)})  # as earlier versions wrote
    save_file(ONE, folder / "step-00000005.0-of-1.safetensors", {"numbers": '{"run": "", "training/step": 5}'})


def test_all_that_is_ours_is_deleted_with_the_folder(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    fill(folder)
    assert foreign_files(folder) == []
    assert delete_checkpoint(folder) == [] and not folder.exists()
    assert delete_checkpoint(folder) == [] and foreign_files(folder) == []


def test_what_cannot_be_proved_ours_stays(tmp_path):
    fill(tmp_path)
    theirs = {".DS_Store", "notes.txt", "block-foo.safetensors", "step-abc.safetensors", ".x.unfinished", "block-00001"}
    for name in theirs:
        (tmp_path / name).write_text("mine")
    # Of our names: one without a header, one of another program, one with another program's header entries.
    (tmp_path / "block-00000002-00000004.safetensors").write_bytes(b"mine")
    save_file(ONE, tmp_path / "block-00001.safetensors")
    save_file(ONE, tmp_path / "step-00000030.0-of-1.safetensors", {"numbers": "[]", "run": "no JSON"})
    (tmp_path / "block-00000004-00000006.safetensors").mkdir()
    theirs |= {"block-00000002-00000004.safetensors", "block-00001.safetensors", "step-00000030.0-of-1.safetensors"}
    theirs |= {"block-00000004-00000006.safetensors"}
    left = delete_checkpoint(tmp_path)
    assert {path.name for path in left} == theirs == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_links_are_neither_followed_nor_deleted(tmp_path):
    real, folder = tmp_path / "real", tmp_path / "checkpoint"
    real.mkdir()
    fill(real)
    folder.symlink_to(real)
    before = sorted(os.listdir(real))
    assert foreign_files(folder) == [folder] == delete_checkpoint(folder) and sorted(os.listdir(real)) == before
    folder.unlink()
    folder.mkdir()
    link = folder / OURS[0]
    link.symlink_to(real / OURS[0])
    assert delete_checkpoint(folder) == [link] and (real / OURS[0]).exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    fill(tmp_path)
    with held(tmp_path), pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "):
        delete_checkpoint(tmp_path)
    assert set(OURS) <= set(os.listdir(tmp_path))


def test_holding_cleans_up_after_the_killed_and_leaves_no_empty_folder(tmp_path):
    fill(tmp_path)
    with held_checkpoint(tmp_path):
        assert not set(HALF_WRITTEN) & set(os.listdir(tmp_path)) and set(OURS) <= set(os.listdir(tmp_path))
    new = tmp_path / "new"
    with held_checkpoint(new):
        assert new.is_dir()
    assert not new.exists()
