"""Compiled kernels on disk: kept, loaded again, never run where they are damaged or may be somebody else's."""

import logging
import os
import stat

import pytest
import torch

from openmm_diffsampler import LennardJones
from openmm_diffsampler.targets.backends.kernel import machine_code

from ..reference import random_positions

X = random_positions(5, batch=3, scale=1.0)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMM_DIFFSAMPLER_CACHE", str(tmp_path / "kernels"))
    machine_code._say.cache_clear()
    return tmp_path / "kernels"


@pytest.fixture
def compiled(monkeypatch):
    """A list that grows with each kernel that is compiled."""
    calls, compile_ = [], machine_code._compile
    monkeypatch.setattr(machine_code, "_compile", lambda *a: calls.append(1) or compile_(*a))
    return calls


def energies(n=5):
    return LennardJones(n).reduced_potential(X[:, :n])


def test_compiled_once_and_kept(folder, compiled):
    first = energies()
    assert torch.equal(energies(), first) and len(compiled) == 1
    (kept,) = folder.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_damaged_one_is_compiled_again_and_never_run(folder, compiled, monkeypatch):
    run, load = [], machine_code.llvm.object_file.ObjectFileRef.from_data
    monkeypatch.setattr(
        machine_code.llvm.object_file.ObjectFileRef, "from_data", lambda data: run.append(data) or load(data)
    )
    first = energies()
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    checksum = bytearray(whole)
    checksum[3] ^= 1
    damaged = [bytes(flipped), bytes(checksum), whole[:-100], whole[:20], whole[:32], b"", whole + b"x"]
    for content in damaged:
        kept.write_bytes(content)
        assert torch.equal(energies(), first)
    assert len(compiled) == 1 + len(damaged) and set(run) == {whole[32:]}


def test_another_kernels_file_is_not_run(folder, compiled):
    expected = [energies(n) for n in (4, 5)]
    first, second = folder.iterdir()
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    assert all(torch.equal(energies(n), u) for n, u in zip((4, 5), expected, strict=True))
    assert len(compiled) == 4


@pytest.mark.parametrize("changed", ["version of the package", "option of the compiler", "version of LLVM"])
def test_what_the_code_depends_on_is_in_its_name(folder, compiled, monkeypatch, changed):
    energies()
    if changed == "version of the package":
        monkeypatch.setattr(machine_code, "_version", lambda: "another")
    elif changed == "option of the compiler":
        monkeypatch.setitem(machine_code._OPTIONS, "speed_level", 1)
    else:
        monkeypatch.setattr(machine_code.llvm, "llvm_version_info", (1, 2, 3))
    energies()
    assert len(compiled) == 2 and len([*folder.iterdir()]) == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files on this system")
@pytest.mark.parametrize("who", ["a folder of others", "a folder that others write to", "a file that others write to"])
def test_what_others_may_have_written_is_not_run(folder, compiled, monkeypatch, caplog, who):
    first = energies()
    if who == "a folder of others":
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    elif who == "a folder that others write to":
        (folder / "other things").write_text("")
        folder.chmod(0o777)
    else:
        next(folder.iterdir()).chmod(0o666)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(energies(), first) and len(compiled) == 2
        energies(4)
    assert len(caplog.records) == 1 and "not kept" in caplog.text


def test_the_size_of_the_folder_is_bounded(folder, compiled, monkeypatch):
    energies(3)
    (first,) = folder.iterdir()
    monkeypatch.setattr(machine_code, "_MOST", int(1.5 * first.stat().st_size))
    os.utime(first, (1e9, 1e9))
    energies(4)
    assert not first.exists() and len([*folder.iterdir()]) == 1


def test_without_a_place_to_keep_it(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("OPENMM_DIFFSAMPLER_CACHE", str(blocked / "kernels"))
    assert energies(3).isfinite().all()
