"""Small inputs that ask for much: nesting, aliases, huge counts, archives that grow, expressions without end."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from .seals import reseal, unseal

__all__ = ["bombs"]

_DEEP = 200_000


def _nested_xml(text: str) -> str:
    return text.replace("<Forces>", "<Forces>" + "<a>" * _DEEP + "</a>" * _DEEP)


def _entity_xml(text: str) -> str:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x" * 1000}">' for i in range(9))
    return re.sub(r"<System ", f'<!DOCTYPE x [{entities}]><System a="&e8;" ', text, count=1)


def _expression_xml(expression: str) -> Callable[[str], str]:
    return lambda text: re.sub(r'energy="[^"]*"', f'energy="{expression}"', text, count=1)


_XML: dict[str, Callable[[str], str]] = {
    "nested elements": _nested_xml,
    "a million elements": lambda text: text.replace("<Forces>", "<Forces>" + "<a/>" * 1_000_000),
    "entities that grow": _entity_xml,
    "a number of 10^10 digits": _expression_xml("depth*10^(10^10)"),
    "a tower of powers": _expression_xml("9^9^9^9^9*r"),
    "an exact number without end": _expression_xml("(1+r)^100000"),
    "nested parentheses": _expression_xml("(" * 50_000 + "r" + ")" * 50_000),
    "a long sum": _expression_xml("+".join(["r*depth"] * 20_000)),
    "definitions that double": _expression_xml(
        "a39;" + ";".join(f"a{i}=a{i - 1}*a{i - 1}" for i in range(39, 0, -1)) + ";a0=r"
    ),
    "a particle far away": lambda text: re.sub(r'p1="0"', 'p1="2000000000"', text, count=1),
    "a particle below zero": lambda text: re.sub(r'p1="0"', 'p1="-1"', text, count=1),
    "a map of another size": lambda text: text.replace(
        "<Forces>",
        '<Forces><Force forceGroup="0" name="m" type="CMAPTorsionForce" usesPeriodic="0" version="2"><Maps>'
        '<Map size="2000000000"/></Maps><Torsions><Torsion a1="0" a2="1" a3="2" a4="3" b1="0" b2="1" b3="2" b4="3" '
        'map="7"/></Torsions></Force>',
    ),
    "a table of another size": lambda text: text.replace(
        "<Forces>",
        '<Forces><Force energy="f(r)" forceGroup="0" name="m" type="CustomBondForce" usesPeriodic="0" version="3">'
        '<PerBondParameters/><GlobalParameters/><EnergyParameterDerivatives/><Functions><Function max="1" min="0" '
        'name="f" type="Continuous1DFunction"><Values/></Function></Functions>'
        '<Bonds><Bond p1="0" p2="1"/></Bonds></Force>',
    ),
}
_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{n}: &{n} [{', '.join([f'*{p}'] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)
_YAML: dict[str, str] = {
    "aliases that grow": _ALIASES,
    "nested lists": "temperature: " + "[" * _DEEP,
    "nested maps": "temperature: " + "{a: " * 3000,
    "a long key": "? " + "k" * 2_000_000 + "\n: 1\n",
    "a number of ten million digits": "temperature: " + "9" * 10_000_000,
    "numbers to the base of sixty": "temperature: " + "1" + ":59" * 300_000,
    "a date": "temperature: 2001-02-30",
    "parameters without bound": "density: mw32\nparameters: {n_pairs: 1000000000000}\n",
    "a large density": "density: mw32\nparameters: {n_pairs: 900000}\n",
    "a density inside out": "density: mw32\nparameters: {n_pairs: -5}\n",
    "another type": "density: mw32\nparameters: {n_pairs: 1.5}\n",
}


def _array_that_grows(content: bytes, name: str) -> bytes:
    """An archive whose entry is 20 GB of zeros, in a few hundred bytes of header and a false size."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == f"{name}.npy":
                header = io.BytesIO()
                shape = (2_500_000_000,)
                np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
                data = header.getvalue() + bytes(100_000_000)
            new.writestr(entry, data)
    return out.getvalue()


def _tensors(header: object, size: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + bytes(64)


_TENSORS: dict[str, bytes] = {
    "a header without end": _tensors({}, 2**63),
    "a header of 4 GB": _tensors({}, 2**32),
    "a nested header": struct.pack("<Q", _DEEP) + b"[" * _DEEP,
    "a tensor without end": _tensors({"w": {"dtype": "F64", "shape": [2**61], "data_offsets": [0, 2**63]}}),
    "a shape that overflows": _tensors({"w": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}}),
    "many tensors": _tensors({f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}),
}
_JSON: dict[str, str] = {
    "nested lists": "[" * _DEEP,
    "nested maps": '{"a":' * _DEEP,
    "a number of ten million digits": '{"format": ' + "9" * 10_000_000 + "}",
    "a list of millions": '{"format": [' + "0," * 3_000_000 + "0]}",
}


def _settings_without_bound(folder: Path, value: object) -> None:
    path = folder / "sampler.json"
    saved = json.loads(path.read_text())
    settings = saved["settings"]
    for name in settings:
        if "width" in name or name in ("n_layers", "n_components", "batch_size"):
            settings[name] = value
    path.write_text(json.dumps(saved))
    reseal(folder)


def _counts(content: bytes, at: int, order: str) -> bytes:
    return content[:at] + (0x7FFFFFFF).to_bytes(4, order) + content[at + 4 :]


def bombs(folder: Path, suffixes: set[str]) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Descriptions and functions that make a copy of `folder`, which has files of these suffixes, hostile."""

    def write(suffix: str, change: Callable[[bytes], bytes], sealing: Callable[[Path], None] = unseal):
        def apply(copy: Path) -> None:
            sealing(copy)
            path = next(p for p in sorted(copy.rglob(f"*{suffix}")))
            path.write_bytes(change(path.read_bytes()))
            if sealing is reseal:
                reseal(copy)

        return apply

    if ".xml" in suffixes:
        for name, edit in _XML.items():
            yield f"XML, {name}", write(".xml", lambda content, edit=edit: edit(content.decode()).encode(), reseal)
    if ".yaml" in suffixes:
        for name, text in _YAML.items():
            yield f"YAML, {name}", write(".yaml", lambda _, text=text: text.encode())
    if ".json" in suffixes:
        for name, text in _JSON.items():
            yield f"JSON, {name}", write(".json", lambda _, text=text: text.encode())
    if ".safetensors" in suffixes:
        for name, content in _TENSORS.items():
            yield f"tensors, {name}", write(".safetensors", lambda _, content=content: content)
    if ".npz" in suffixes:
        for array in ("log_weights", "metadata", "x"):
            yield f"{array} of 20 GB", write(".npz", lambda content, array=array: _array_that_grows(content, array))
    for suffix in suffixes & {".dcd", ".xtc", ".trr", ".nc"}:
        for at in (4, 8, 12, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 268, 272):
            for order in ("little", "big"):
                change = lambda content, at=at, order=order: _counts(content, at, order)  # noqa: E731
                yield f"a count of 2^31 − 1 at {at}, {order} end first", write(suffix, change)
    if (folder / "sampler.json").exists():
        for value in (10**6, 10**9, 2**70, -1, 0, 1.5, "8", None, True, [8]):
            yield f"widths of {value!r}", lambda copy, value=value: _settings_without_bound(copy, value)
