"""``system.yaml``: what a system is called, its temperature, and the checksums of the files beside it."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from openmm import unit

from openmm_diffsampler._common.names import require_name
from openmm_diffsampler._common.quoting import shortened, shown
from openmm_diffsampler._common.sealed_files import (
    DamagedFileError,
    UnsealedFileWarning,
    content_hash,
    require_sealed,
    seal,
)

from .units import require_temperature

__all__ = ["FILES", "LENGTH_UNITS", "closest", "read_metadata", "read_text", "require_whole", "sealed_yaml"]

_COMMON = ("name", "description", "length_unit", "origin", "rebuild", "files")
_MOLECULE = ("temperature", "force_field", *_COMMON)
_ANALYTIC = ("density", "parameters", *_COMMON)
#: What lengths mean: nanometer, or reduced units (1 length = 1 nm, 1 energy = 1 kJ/mol).
LENGTH_UNITS = ("nanometer", "reduced")
#: The files beside ``system.yaml``. ``topology.json`` has what a PDB file has no room for; older folders lack it.
FILES = ("topology.pdb", "topology.json", "system.xml")
_LARGEST = 1 << 20
#: The same of any file of a system's folder.
LARGEST_FILE = 1 << 30
_LARGEST_NUMBER = 1e6
_NUMBERS, _LONGEST_NUMBER = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"), 100
_RESTORE = "restore the folder, or, if the change is meant, delete the entries 'files' and 'sha256' of system.yaml"


class _Loader(yaml.SafeLoader):
    """Without aliases, by which a few hundred bytes can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(None, None, "aliases are not supported here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        # Long numbers to the base of sixty take minutes.
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        return super().construct_scalar(node)


def closest(word: object, words: Iterable[str]) -> str:
    """A phrase that suggests the nearest of `words`, or nothing if none is near.

    Example:
        >>> closest("temprature", ["temperature", "density"])
        ' (did you mean "temperature"?)'
    """
    matches = difflib.get_close_matches(shortened(word), list(words), n=1)
    return f' (did you mean "{matches[0]}"?)' if matches else ""


def read_text(file: Path) -> str:
    """The text of a file of a system's folder, with plain line ends.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is no text.
    """
    try:
        if file.exists() and not file.is_file():
            raise ValueError(f"{file} is no plain file")
        with open(file, "rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ValueError(f"{file} has more than {LARGEST_FILE:,} bytes, more than any system's file")
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file} is missing; a system's folder holds topology.pdb, system.xml and system.yaml, and save_system "
            f"writes them (a density in closed form has only system.yaml)"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file ({error}); save it again with save_system") from error


def read_metadata(directory: str | Path) -> dict[str, Any]:
    """The entries of ``system.yaml``, checked, with the temperature as a Quantity; ``files`` only in a sealed one.

    Raises:
        FileNotFoundError: there is no ``system.yaml``.
        DamagedFileError: it was changed after it was written.
        ValueError: it is not a YAML mapping, or has unknown, missing or wrong entries.

    Warns:
        UnsealedFileWarning: it has no checksum.
    """
    file = Path(directory) / "system.yaml"
    entries = _parsed(file)
    if "density" not in entries and "temperature" not in entries:
        raise ValueError(
            f"{file} lacks the entry 'temperature' (or 'density', for one in closed form); it has "
            f"{shortened(', '.join(map(shortened, entries)) or 'none')}{_misspelt(entries)}; add for example "
            f"'temperature: 300 kelvin'"
        )
    entries = _unsealed(file, entries)
    allowed = _ANALYTIC if "density" in entries else _MOLECULE
    for key, value in entries.items():
        if key not in allowed:
            raise ValueError(
                f"{file} has an unknown entry {shown(key)}{closest(key, allowed)}; allowed are {', '.join(allowed)}"
            )
        if key not in ("parameters", "temperature", "files") and not isinstance(value, str):
            raise ValueError(f"{file} has {key}: {shown(value)}, which is not text; put it in quotes")
    if entries.get("length_unit", "nanometer") not in LENGTH_UNITS:
        raise ValueError(
            f"{file} has length_unit: {shortened(entries['length_unit'])}; supported are {' and '.join(LENGTH_UNITS)}"
        )
    if "name" in entries:
        require_name(entries["name"], f"{file}: name")
    if "density" in entries:
        entries["parameters"] = _parameters(file, entries["density"], entries.get("parameters") or {})
    else:
        entries["temperature"] = _temperature(file, entries["temperature"])
    if "description" in entries:
        entries["description"] = " ".join(entries["description"].split())
    return entries


def _parsed(file: Path) -> dict[Any, Any]:
    text = read_text(file)
    if len(text) > _LARGEST:
        raise ValueError(f"{file} has {len(text):,} characters, and a few lines are expected")
    try:
        entries = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{file} is not valid YAML; correct the place that the parser names: {shortened(error, 500)}"
        ) from error
    if not isinstance(entries, dict):
        raise ValueError(f"{file} holds {type(entries).__name__} instead of entries such as 'temperature: 300 kelvin'")
    return entries


def _unsealed(file: Path, entries: dict[Any, Any]) -> dict[Any, Any]:
    if "sha256" not in entries:
        warnings.warn(
            f"{file} has no checksum, so that nobody can tell whether the folder is whole; save_system writes one",
            UnsealedFileWarning,
            stacklevel=4,
        )
        return {key: value for key, value in entries.items() if key != "files"}
    try:
        entries = require_sealed(file, entries)
    except (TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError(f"{file} was damaged or changed after it was written; {_RESTORE}") from None
    hashes = entries.get("files", {})
    if not isinstance(hashes, dict) or not set(hashes) <= set(FILES):
        raise DamagedFileError(f"{file} has files: {shown(hashes)}; expected are checksums of {', '.join(FILES)}")
    return entries


def sealed_yaml(entries: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Text of a ``system.yaml`` with the checksums of the files beside it, and its own.

    Arguments:
        entries: what it says.
        texts: name of each file beside it → its text.
    """
    files = {"files": {name: content_hash(text) for name, text in texts.items()}} if texts else {}
    return yaml.safe_dump(seal({**entries, **files}), sort_keys=False, allow_unicode=True, width=120)


def require_whole(directory: Path, hashes: Mapping[str, str]) -> None:
    """Raise unless the files are those that ``system.yaml`` was written with.

    Raises:
        FileNotFoundError: one is missing.
        DamagedFileError: one was changed.
    """
    for name, expected in hashes.items():
        if content_hash(read_text(directory / name)) != expected:
            raise DamagedFileError(f"{directory / name} was damaged or changed after it was saved; {_RESTORE}")


def _temperature(file: Path, text: object) -> unit.Quantity:
    """'300 kelvin' as a Quantity."""
    match = re.fullmatch(r"\s*(\S+)\s+(\S+)\s*", text) if isinstance(text, str) else None
    if match is None or match[2] not in ("kelvin", "K"):
        raise ValueError(
            f"{file} has temperature: {shown(text)}; give a number and the unit kelvin, such as "
            f"'temperature: 300 kelvin'"
        )
    try:
        return require_temperature(float(match[1]) * unit.kelvin)
    except ValueError as error:
        raise ValueError(
            f"{file} has temperature: {shown(text)}; give a positive number of kelvin ({shortened(error)})"
        ) from error


def _parameters(file: Path, density: str, parameters: object) -> dict[str, Any]:
    from .analytic import DENSITIES

    if density not in DENSITIES:
        raise ValueError(
            f"{file} has an unknown density {shown(density)}{closest(density, DENSITIES)}; "
            f"supported are {', '.join(DENSITIES)}"
        )
    allowed = [
        key for key in inspect.signature(DENSITIES[density]).parameters if key not in ("name", "dtype", "device")
    ]
    if not isinstance(parameters, dict):
        raise ValueError(
            f"{file} has parameters: {shown(parameters)}; give entries such as 'parameters: {{n_pairs: 16}}'"
        )
    for key, value in parameters.items():
        if key not in allowed:
            raise ValueError(
                f"{file} has an unknown parameter {shown(key)} for {density}{closest(key, allowed)}; "
                f"allowed are {', '.join(allowed) or 'none'}"
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and abs(value) <= _LARGEST_NUMBER):
            raise ValueError(f"{file} has {key}: {shown(value)}; give a number up to {_LARGEST_NUMBER:,.0f}")
    return parameters


def _misspelt(entries: Mapping[Any, Any]) -> str:
    near = [key for key in entries if difflib.get_close_matches(shortened(key), ("temperature", "density"), n=1)]
    return f" (is {shown(near[0])} a misspelling?)" if near else ""
