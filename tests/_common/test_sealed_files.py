"""Checksums: no flipped bit goes unnoticed."""

import json
import random
import warnings

import pytest
import torch
from safetensors.torch import save_file

from openmm_diffsampler._common.sealed_files import (
    DamagedFileError,
    UnsealedFileWarning,
    read_json,
    read_tensors,
    sealed_json,
    write_tensors,
)


@pytest.fixture
def tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.randn(5, 3, dtype=torch.float64), "n": torch.arange(4)}, {"what": "é, ✓"})
    return path


def test_tensors_come_back(tensors):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, entries = read_tensors(tensors)
    assert found["n"].tolist() == [0, 1, 2, 3] and found["x"].dtype == torch.float64 and entries == {"what": "é, ✓"}


def test_every_flipped_bit_of_tensors_is_noticed(tensors):
    whole, rng = tensors.read_bytes(), random.Random(0)
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        tensors.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsealedFileWarning)  # one in the name of all entries hides them
            with pytest.raises(DamagedFileError):
                read_tensors(tensors)


@pytest.mark.parametrize(
    "content", [b"", b"1234", b"\xff" * 100, (10**15).to_bytes(8, "little") + b"{}", b"\2" + b"\0" * 7 + b"[]"]
)
def test_what_is_no_file_of_tensors_is_damaged(tensors, content):
    tensors.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.safetensors is damaged"):
        read_tensors(tensors)


def test_tensors_of_earlier_versions_are_read_with_a_note(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "old.safetensors", {"numbers": "{}"})
    with pytest.warns(UnsealedFileWarning, match="earlier version"):
        found, entries = read_tensors(tmp_path / "old.safetensors")
    assert found["x"].tolist() == [1.0, 1.0] and entries == {"numbers": "{}"}


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_tensors(tmp_path / "none")


def test_json_comes_back_and_changes_are_noticed(tmp_path):
    path, entries = tmp_path / "a.json", {"a": [1, 2.5, None], "b": {"é": "x"}}
    path.write_text(sealed_json(entries), encoding="utf-8")
    assert read_json(path) == entries
    path.write_text(sealed_json(entries).replace("sha256", "sha25v").replace("2.5", "2.6"), encoding="utf-8")
    with pytest.raises(DamagedFileError, match="its checksum is called"):
        read_json(path)
    path.write_text(sealed_json(entries).replace("2.5", "2.6"), encoding="utf-8")
    with pytest.raises(DamagedFileError, match="changed after it was written"):
        read_json(path)


def test_json_that_is_laid_out_anew_is_the_same(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(json.loads(sealed_json({"b": 1, "a": 1e-30}))), encoding="utf-8")
    assert read_json(path) == {"b": 1, "a": 1e-30}


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "9" * 10_000, "nonsense"])
def test_what_is_no_json_is_damaged(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedFileError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
