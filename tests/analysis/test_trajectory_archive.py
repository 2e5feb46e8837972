"""The archive of weights: what was written, or an error with its name."""

import io
import json
import random
import zipfile

import numpy as np
import pytest
import torch

from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning
from openmm_diffsampler.analysis import WeightedTrajectory
from openmm_diffsampler.analysis.trajectory_archive import read_archive, write_archive

IMPORTANCE = {"log_weights": np.zeros(3), "x": np.zeros((3, 2))}
METADATA = {
    "kind": "importance",
    "event_shape": [2],
    "frames_file": "a.npz",
    "has_topology": False,
    "source_effective_sample_size": None,
    "temperature": 300.0,
    "fingerprint": "0" * 64,
    "frames_hash": None,
    "topology_hash": None,
}


def write(path, entries, **how):
    """A zip file of bytes by name."""
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries:
            archive.writestr(name, content)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), allow_pickle=True)
    return file.getvalue()


def test_numpy_reads_it_and_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_archive(tmp_path / f"{name}.npz", {"x": np.arange(6.0).reshape(2, 3)}, {"kind": "mcmc"})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as file:
        assert file["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and json.loads(str(file["metadata"]))["kind"] == "mcmc"


def test_every_flipped_bit_is_found(gaussian, tmp_path):
    """Weights, labels, directory, names and dates: a file that was changed anywhere is refused."""
    path = tmp_path / "a.npz"
    gaussian(20, seed=0).resample(30).save(path)
    data, rng = path.read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"a\.npz is damaged"):
            WeightedTrajectory.load(path)


def test_every_cut_is_found(gaussian, tmp_path):
    path = tmp_path / "a.npz"
    gaussian(20, seed=0).save(path)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError, match=r"a\.npz is damaged"):
            WeightedTrajectory.load(path)


HUGE = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117)
BOMBS = {
    "a declared shape of 8 TB": ([("x.npy", HUGE + b"\n" + b"0" * 80)], {}),
    "compressed zeros": ([("x.npy", npy(np.zeros(10**6)))], {"compression": zipfile.ZIP_DEFLATED}),
    "pickled objects": ([("x.npy", npy(np.array([{"a": 1}], dtype=object)))], {}),
    "a negative length": ([("x.npy", HUGE.replace(b"1000000000000", b"-1           ") + b"\n")], {}),
    "a header that nests": ([("x.npy", b"\x93NUMPY\x01\x00\xff\x1f" + b"(" * 0x1FFF)], {}),
    "no array": ([("x.npy", b"text")], {}),
    "many entries": ([(f"x{i}.npy", npy(0.0)) for i in range(50)], {}),
    "deep metadata": ([("metadata.npy", npy(np.array("[" * 100_000)))], {}),
    "long metadata": ([("metadata.npy", npy(np.array(" " * (1 << 21))))], {}),
    "metadata that are no entries": ([("metadata.npy", npy(np.array("[]")))], {}),
    "metadata that are no text": ([("metadata.npy", npy(np.zeros(3)))], {}),
    "no metadata": ([("x.npy", npy(0.0))], {}),
    "a format to come": ([("metadata.npy", npy(np.array('{"format": 99}')))], {}),
    "a format without its checksum": ([("metadata.npy", npy(np.array('{"format": 2}')))], {}),
}


@pytest.mark.parametrize("what", BOMBS)
def test_bombs_and_strangers(tmp_path, what):
    entries, how = BOMBS[what]
    write(tmp_path / "a.npz", entries, **how)
    with pytest.raises(DamagedFileError, match=r"a\.npz is damaged") as error:
        read_archive(tmp_path / "a.npz")
    assert len(str(error.value)) < 600


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_of_one_name(tmp_path):
    write(tmp_path / "a.npz", [("x.npy", npy(0.0)), ("x.npy", npy(1.0))])
    with pytest.raises(DamagedFileError, match="it has the entries"):
        read_archive(tmp_path / "a.npz")


FOREIGN = {
    "kind": ["boltzmann", 3, None],
    "event_shape": [[], [2.0], [-2], "22", [3], [True], None, [1 << 50]],
    "frames_file": [3, None],
    "has_topology": [True, 1, "no"],
    "source_effective_sample_size": ["7", -1.0, [1]],
    "temperature": ["300", -300, 0, float("nan"), float("inf"), True],
    "fingerprint": [None, "x", 7],
    "frames_hash": [7, "x"],
    "topology_hash": [7, "x"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in FOREIGN.items() for value in values])
def test_foreign_metadata(tmp_path, name, value):
    write_archive(tmp_path / "a.npz", IMPORTANCE, METADATA | {name: value})
    with pytest.raises(DamagedFileError, match=r"a\.npz .*(entry|configurations|x has shape)"):
        WeightedTrajectory.load(tmp_path / "a.npz")


@pytest.mark.parametrize("missing", METADATA)
def test_missing_and_unknown_metadata(tmp_path, missing):
    less = {name: value for name, value in METADATA.items() if name != missing}
    for metadata in (less, METADATA | {"topology_file": 1}):
        write_archive(tmp_path / "a.npz", IMPORTANCE, metadata)
        with pytest.raises(DamagedFileError, match=r"a\.npz .*metadata have the entries"):
            WeightedTrajectory.load(tmp_path / "a.npz")


ARRAYS = {
    "other lengths": {"log_weights": np.zeros(4)},
    "no weights": {"log_weights": None},
    "no frames": {"x": None},
    "weights in a table": {"log_weights": np.zeros((3, 1))},
    "weights of no frames": {"log_weights": np.zeros(0), "x": np.zeros((0, 2))},
    "weights of half precision": {"log_weights": np.zeros(3, np.float16)},
    "text": {"log_q": np.array(["1", "2", "3"])},
    "chains that are no integers": {"chain": np.zeros(3)},
    "frames of integers": {"x": np.zeros((3, 2), int)},
    "frames of another shape": {"x": np.zeros((3, 3))},
    "a topology that is no text": {"topology": np.zeros(3)},
    "a topology that is no JSON": {"topology": np.frombuffer(b"{", np.uint8)},
    "a topology that nests": {"topology": np.frombuffer(b"[" * 100_000, np.uint8)},
    "a foreign array": {"velocities": np.zeros((3, 2))},
}


@pytest.mark.parametrize("what", ARRAYS)
def test_foreign_arrays(tmp_path, what):
    arrays = {name: array for name, array in (IMPORTANCE | ARRAYS[what]).items() if array is not None}
    write_archive(tmp_path / "a.npz", arrays, METADATA)
    with pytest.raises(DamagedFileError, match=r"a\.npz is damaged"):
        WeightedTrajectory.load(tmp_path / "a.npz")


def test_weights_that_are_none(tmp_path):
    """An archive with a right checksum and NaN in it: the error has its name."""
    arrays, metadata = IMPORTANCE | {"log_weights": np.full(3, np.nan)}, dict(METADATA)
    wt = WeightedTrajectory(torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3), kind="importance")
    wt.save(tmp_path / "a.npz")
    metadata["fingerprint"] = read_archive(tmp_path / "a.npz")[1]["fingerprint"]
    write_archive(tmp_path / "a.npz", arrays, metadata)
    with pytest.raises(DamagedFileError, match=r"a\.npz holds no weighted trajectory: log_weights is NaN in 3"):
        WeightedTrajectory.load(tmp_path / "a.npz")


def test_archives_of_earlier_versions(gaussian, tmp_path):
    wt = gaussian(20, seed=0)
    wt.save(tmp_path / "new.npz")
    arrays, metadata = read_archive(tmp_path / "new.npz")
    metadata = {name: value for name, value in metadata.items() if not name.endswith("_hash")}
    np.savez(tmp_path / "old.npz", metadata=np.array(json.dumps(metadata)), **arrays)
    with pytest.warns(UnsealedFileWarning, match=r"old\.npz is of an earlier version"):
        loaded = WeightedTrajectory.load(tmp_path / "old.npz")
    assert torch.equal(loaded.x, wt.x) and torch.equal(loaded.log_weights, wt.log_weights)
