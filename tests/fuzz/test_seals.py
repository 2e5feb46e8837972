"""Folders without checksums, and with checksums that fit, are read: what the harness takes for edits are edits."""

from __future__ import annotations

import shutil
import warnings

import pytest

from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning

from .loaders import LOADERS
from .seals import reseal, unseal
from .worker import digest

_READ_WITHOUT = ["system folder", "sampler folder, idem", "trajectory, dcd", "trajectory, npz"]


def valid(name, tmp_path):
    loader = LOADERS[name]
    loader.make(tmp_path / "valid")
    return loader, tmp_path / "valid"


def read(loader, folder):
    """The digest of a copy, and whether there was a note."""
    copy = folder.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = digest(loader.numbers(loader.load(copy)))
    return found, any(issubclass(warning.category, UnsealedFileWarning) for warning in caught)


@pytest.mark.parametrize("name", _READ_WITHOUT)
def test_without_checksums_with_a_note(name, tmp_path):
    loader, folder = valid(name, tmp_path)
    whole, noted = read(loader, folder)
    assert not noted
    unseal(folder)
    found, noted = read(loader, folder)
    assert noted and found == whole


@pytest.mark.parametrize("name", [*_READ_WITHOUT, "checkpoint of a run"])
def test_checksums_put_right_are_right(name, tmp_path):
    loader, folder = valid(name, tmp_path)
    whole, _ = read(loader, folder)
    reseal(folder)
    assert read(loader, folder) == (whole, False)


def test_a_digit_is_told_unless_the_checksum_fits(tmp_path):
    loader, folder = valid("system folder", tmp_path)
    whole, _ = read(loader, folder)
    yaml = folder / "system.yaml"
    yaml.write_text(yaml.read_text().replace("300 kelvin", "301 kelvin"))
    with pytest.raises(DamagedFileError, match=r"system\.yaml was damaged"):
        read(loader, folder)
    reseal(folder)
    found, noted = read(loader, folder)
    assert found != whole and not noted
