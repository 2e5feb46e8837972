"""Files that are there whole or not at all."""

import os

import pytest

from openmm_diffsampler._common.whole_files import delete_unfinished, write_whole, written_whole


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(RuntimeError), written_whole(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "old"


def test_links_are_replaced_and_not_followed(tmp_path):
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "theirs")
    for guess in (".a.txt.unfinished", "a.unfinished", "a.txt.unfinished"):
        (tmp_path / guess).symlink_to(tmp_path / "theirs")
    write_whole(tmp_path / "a.txt", "ours")
    assert (tmp_path / "theirs").read_text() == "precious"
    assert not (tmp_path / "a.txt").is_symlink() and (tmp_path / "a.txt").read_text() == "ours"


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "a.txt", b"")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_a_killed_process_left_is_deleted(tmp_path):
    for name in (".a.txt.x1y2z3w4.unfinished.txt", "notes.txt"):
        (tmp_path / name).touch()
    delete_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_only_files_that_were_being_written_are_deleted(tmp_path):
    for name in (".my-thesis.unfinished.tex", "a.unfinished"):
        (tmp_path / name).write_text("theirs")
    (tmp_path / ".notes.abcdefgh.unfinished").mkdir()
    (tmp_path / ".run.json.abc_1234.unfinished").write_text("half")
    (tmp_path / ".frames.abc_1234.unfinished.dcd").write_text("half")
    delete_unfinished(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".my-thesis.unfinished.tex", ".notes.abcdefgh.unfinished", "a.unfinished"]
