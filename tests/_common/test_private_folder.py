"""Folders whose files nobody else can have written."""

import os
import stat
import threading
import time

import pytest

from openmm_diffsampler._common.private_folder import NotPrivateError, PrivateFolder
from openmm_diffsampler._common.whole_files import UNFINISHED

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners of files on this system")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def written(path, **files):
    with PrivateFolder(path, "[a-z]").opened() as folder:
        for name, content in files.items():
            folder.write(name, content)


def read(path, name):
    with PrivateFolder(path, "[a-z]").opened() as folder:
        return folder.read(name)


def test_folder_and_files_are_for_the_user_alone(tmp_path):
    path = tmp_path / "deep" / "cache"
    before = os.umask(0)
    try:
        written(path, a=b"content")
    finally:
        os.umask(before)
    assert read(path, "a") == b"content" and read(path, "b") is None
    assert (mode(path), mode(path / "a")) == (0o700, 0o600)
    assert [p.name for p in path.iterdir()] == ["a"]


@pytest.mark.parametrize("permissions", [0o770, 0o720, 0o702, 0o777, 0o1777])
def test_a_folder_of_ones_own_is_made_private_and_one_with_other_things_is_refused(tmp_path, permissions):
    written(tmp_path / "cache", a=b"content")
    (tmp_path / "cache").chmod(permissions)
    assert read(tmp_path / "cache", "a") == b"content" and mode(tmp_path / "cache") == 0o700
    (tmp_path / "cache" / "thesis.tex").write_text("")
    (tmp_path / "cache").chmod(permissions)
    with pytest.raises(NotPrivateError, match=r"others can write to .*cache.*chmod"):
        read(tmp_path / "cache", "a")
    assert mode(tmp_path / "cache") == permissions


@pytest.mark.parametrize("permissions", [0o660, 0o602, 0o666])
def test_a_file_that_others_can_write_to_is_refused(tmp_path, permissions):
    written(tmp_path / "cache", a=b"content")
    (tmp_path / "cache" / "a").chmod(permissions)
    with pytest.raises(NotPrivateError, match="others can write"):
        read(tmp_path / "cache", "a")


def test_what_belongs_to_others_is_refused(tmp_path, monkeypatch):
    written(tmp_path / "cache", a=b"content")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(NotPrivateError, match=f"belongs to user {own}, and we are user {own + 1}"):
        read(tmp_path / "cache", "a")


def test_a_file_of_others_in_a_folder_of_ones_own_is_refused(tmp_path, monkeypatch):
    written(tmp_path / "cache", a=b"content")
    folder = PrivateFolder(tmp_path / "cache", "[a-z]")
    own = os.geteuid()
    with folder.opened():
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)
        with pytest.raises(NotPrivateError, match="belongs to user"):
            folder.read("a")


def test_links_are_not_followed(tmp_path):
    written(tmp_path / "cache", a=b"content")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"theirs")
    (tmp_path / "cache" / "b").symlink_to(elsewhere)
    with pytest.raises(OSError):
        read(tmp_path / "cache", "b")
    (tmp_path / "cache" / "c").hardlink_to(elsewhere)
    with pytest.raises(NotPrivateError, match="link"):
        read(tmp_path / "cache", "c")
    written(tmp_path / "cache", b=b"ours")  # takes the place of the link
    assert read(tmp_path / "cache", "b") == b"ours" and elsewhere.read_bytes() == b"theirs"


def test_a_link_to_a_folder_counts_as_that_folder(tmp_path):
    open_to_all = tmp_path / "shared"
    open_to_all.mkdir()
    (open_to_all / "other things").write_text("")
    open_to_all.chmod(0o777)
    (tmp_path / "cache").symlink_to(open_to_all)
    with pytest.raises(NotPrivateError):
        read(tmp_path / "cache", "a")


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(OSError):
        read(tmp_path / "cache", "a")


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    written(tmp_path / "cache", a=bytes(100), b=bytes(100), c=bytes(100), d=bytes(100))
    for age, name in enumerate("dcba"):
        os.utime(tmp_path / "cache" / name, (time.time() - 1000 - age,) * 2)
    abandoned, recent = (tmp_path / "cache" / f".x.{k}{UNFINISHED}" for k in "01")
    for path, age in ((abandoned, 100_000), (recent, 10)):
        path.write_bytes(bytes(100))
        os.utime(path, (time.time() - age,) * 2)
    (tmp_path / "cache" / "thesis.tex").write_text("text")
    assert read(tmp_path / "cache", "a") == bytes(100)  # used now
    with PrivateFolder(tmp_path / "cache", "[a-z]").opened() as folder:
        folder.keep_below(250)
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {"a", "d", "thesis.tex", recent.name}


def test_readers_beside_writers_see_whole_files(tmp_path):
    contents, wrong = [bytes([k]) * 100_000 for k in range(3)], []
    written(tmp_path / "cache", a=contents[0])

    def write(k):
        for _ in range(30):
            written(tmp_path / "cache", a=contents[k])

    writers = [threading.Thread(target=write, args=(k,)) for k in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if read(tmp_path / "cache", "a") not in contents:
            wrong.append(1)
    assert not wrong
