"""Edits of values in files that still parse: wrong types, huge numbers, missing and unknown entries, deep nesting."""

from __future__ import annotations

import io
import json
import math
import os
import tempfile
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

__all__ = ["VALUE_MUTATORS", "edited", "edited_tree"]

_TEXTS = (
    "",
    " ",
    "no",
    "nan",
    "inf",
    "1e400",
    "-1",
    "0x10",
    "300 K",
    "../../elsewhere",
    os.path.join(tempfile.gettempdir(), "elsewhere"),
    "[/red]",
    "$\\frac$",
    "\u202e\u0000\ud7ff",
    "é" * 300,
    "x" * 100_000,
    "9" * 5000,
    "float64",
    "two modes",
)
_NUMBERS = (0, 1, -1, 2, 7, 2**31, -(2**31), 2**53 + 1, 2**63, 2**64, 10**40, 0.5, -0.0, 1e-320, 1e16, 1e308, -1e308)
_OTHERS = (
    math.nan,
    math.inf,
    -math.inf,
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": {"b": 1}},
    [0] * 1000,
)
_EXPRESSIONS = (
    "",
    "x",
    "1/0",
    "sqrt(-1)",
    "nosuch(r)",
    "r^r^r^r",
    "((((r",
    "9" * 2000,
    "10^10^10",
    "2^(10^9)",
    "1e10^10",
    "r;r=r",
    "a;a=b;b=a",
    "+".join("r" * 3000),
    "(" * 3000 + "r" + ")" * 3000,
    "r.__class__",
    "lambda: r",
    "r if r else r",
)


def _nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def _hostile(old: Any, rng: Random) -> Any:
    if isinstance(old, bool) or old is None or rng.random() < 0.4:
        return rng.choice(
            [rng.choice(_TEXTS), rng.choice(_NUMBERS), rng.choice(_OTHERS), _nested(rng.choice([3, 300]))]
        )
    if isinstance(old, int):
        return rng.choice([old + 1, -old, old * 2, old * 10**9, float(old), str(old), [old], *_NUMBERS])
    if isinstance(old, float):
        return rng.choice(
            [old * (1 + 1e-12), -old, old * 1e30, int(old) if math.isfinite(old) else 0, str(old), *_NUMBERS]
        )
    if isinstance(old, str):
        return rng.choice([old + "x", old[:-1], old.upper(), old * 2, *_TEXTS])
    return rng.choice([rng.choice(_TEXTS), rng.choice(_NUMBERS), rng.choice(_OTHERS)])


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values inside, that of the tree itself first."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree[:50]) if isinstance(tree, list) else ()
    return [path, *(place for key, value in inside for place in _places(value, (*path, key)))]


def edited_tree(tree: Any, rng: Random) -> Any:
    """A copy of nested dicts and lists with one value changed, removed, added, renamed or exchanged with another."""
    tree = deepcopy(tree)
    places = _places(tree)[1:]
    if not places or rng.random() < 0.02:
        return _hostile(tree, rng)
    path = rng.choice(places)
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    kind = rng.choice(["change"] * 6 + ["remove", "add", "rename", "exchange"])
    if kind == "change":
        parent[key] = _hostile(parent[key], rng)
    elif kind == "remove":
        del parent[key]
    elif kind == "exchange":
        other = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        parent[key], parent[other] = parent[other], parent[key]
    elif isinstance(parent, list):
        parent.insert(key, _hostile(parent[key], rng))
    elif kind == "add":
        parent[rng.choice(["unknown", "", "é", "sha1", "__class__", "a" * 1000])] = _hostile(None, rng)
    else:
        parent[f"{key}x"] = parent.pop(key)
    return tree


def _edited_json(content: bytes, rng: Random) -> bytes:
    tree = json.loads(content)
    # Some entries hold JSON of their own.
    texts = [path for path in _places(tree) if path and _is_json(_value(tree, path))]
    if texts and rng.random() < 0.7:
        path = rng.choice(texts)
        parent = _value(tree, path[:-1])
        parent[path[-1]] = json.dumps(edited_tree(json.loads(parent[path[-1]]), rng))
        return json.dumps(tree).encode()
    return json.dumps(edited_tree(tree, rng)).encode()


def _value(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _is_json(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in ("{", "[") and value[-1:] in ("}", "]")


def _edited_yaml(content: bytes, rng: Random) -> bytes:
    tree = edited_tree(yaml.safe_load(content), rng)
    try:
        return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
    except (RecursionError, yaml.YAMLError):  # what YAML cannot say
        return json.dumps(tree).encode()


def _edited_xml(content: bytes, rng: Random) -> bytes:
    root = ElementTree.fromstring(content)
    elements = list(root.iter())
    element = rng.choice(elements)
    kind = rng.choice(["change"] * 7 + ["remove attribute", "remove", "repeat", "move", "rename"])
    others = [e for e in elements if len(e)]
    if kind == "change" and element.attrib:
        name = rng.choice(list(element.attrib))
        text = rng.choice(_EXPRESSIONS) if name == "energy" else str(_hostile(_as_number(element.attrib[name]), rng))
        element.set(name, "".join(c for c in text if c.isprintable()))
    elif kind == "remove attribute" and element.attrib:
        del element.attrib[rng.choice(list(element.attrib))]
    elif kind == "rename":
        element.tag = rng.choice([rng.choice(elements).tag, "Unknown", element.tag.lower()])
    else:
        parent = rng.choice(others)
        child = rng.choice(list(parent))
        if kind in ("remove", "change", "remove attribute"):
            parent.remove(child)
        elif kind == "repeat":
            parent.extend([child] * rng.choice([1, 50]))
        else:
            rng.choice(others).append(deepcopy(child))
    return ElementTree.tostring(root)


def _as_number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _edited_header(content: bytes, rng: Random) -> bytes:
    """A safetensors file with another header, the numbers as they were."""
    size = int.from_bytes(content[:8], "little")
    header = _edited_json(content[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def _edited_npz(content: bytes, rng: Random) -> bytes:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    name = rng.choice(list(arrays))
    array = arrays[name]
    if array.dtype.kind == "U" and array.ndim == 0 and rng.random() < 0.8:
        arrays[name] = np.array(json.dumps(edited_tree(json.loads(str(array)), rng)))
    else:
        arrays = _edited_arrays(arrays, name, rng)
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _edited_arrays(arrays: dict[str, np.ndarray], name: str, rng: Random) -> dict[str, np.ndarray]:
    array = arrays[name]
    changes: list[Callable[[], np.ndarray]] = [
        lambda: array[:0],
        lambda: array[:-1],
        lambda: np.concatenate([array, array]),
        lambda: array[..., None],
        lambda: array.astype(np.complex128),
        lambda: array.astype(str),
        lambda: array.astype(np.float16),
        lambda: np.where(np.arange(len(array)).reshape(-1, *[1] * (array.ndim - 1)) == 0, np.nan, array),
        lambda: array * 1e300,
        lambda: np.array(rng.choice(_TEXTS)),
        lambda: array[::-1],
    ]
    kind = rng.choice(["change"] * 4 + ["remove", "add"])
    try:
        if kind == "change":
            return arrays | {name: rng.choice(changes)()}
    except (TypeError, ValueError, IndexError, np.exceptions.DTypePromotionError):  # a scalar, or text
        pass
    if kind == "add":
        return arrays | {rng.choice(["unknown", "x", "topology"]): np.zeros(3)}
    return {key: value for key, value in arrays.items() if key != name}


#: Suffix -> mutator of a file that parses; ValueError and the like where it does not.
VALUE_MUTATORS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": _edited_json,
    ".yaml": _edited_yaml,
    ".xml": _edited_xml,
    ".safetensors": _edited_header,
    ".npz": _edited_npz,
}


def edited(content: bytes, suffix: str, rng: Random) -> bytes:
    """The content with a value changed; `suffix` is one of :data:`VALUE_MUTATORS`."""
    try:
        return VALUE_MUTATORS[suffix](content, rng)
    except Exception:  # whatever parsers raise for a file that does not parse
        return content
