"""Checksums taken out of a folder, as in those of earlier versions, and put right after an edit, as a forger would."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from openmm_diffsampler._common.sealed_files import content_hash, sealed_json

__all__ = ["reseal", "unseal"]

_KEY, _FILES = "sha256", "files"
_BLANK = "0" * 64

Entries = dict[str, Any]


def unseal(folder: Path) -> None:
    """Take every checksum out of the files of `folder`."""
    for path in _sealed_files(folder):
        _rewrite(path, _without)


def reseal(folder: Path) -> None:
    """Give every file that has a checksum one that fits, where it is whole enough; those with hashes of others last."""
    for path in sorted(_sealed_files(folder), key=lambda p: (p.name in ("system.yaml", "sampler.json"), p.parts)):
        if path.suffix == ".safetensors":
            _reseal_tensors(path)
        else:
            _rewrite(path, lambda entries, path=path: _resealed(entries, path.parent))


def _sealed_files(folder: Path) -> list[Path]:
    return [
        p for p in sorted(folder.rglob("*")) if p.suffix in (".json", ".yaml", ".safetensors", ".npz") and p.is_file()
    ]


def _without(entries: Entries, keep: str = "") -> Entries:
    return {key: value for key, value in entries.items() if key not in {_KEY, _FILES} - {keep}}


def _sealed(entries: Entries) -> Entries:
    return json.loads(sealed_json(entries))


def _resealed(entries: Entries, folder: Path) -> Entries:
    return _sealed(_with_hashes(_without(entries, keep=_FILES), folder)) if _KEY in entries else entries


def _with_hashes(entries: Entries, folder: Path) -> Entries:
    hashes = entries.get(_FILES)
    if not isinstance(hashes, dict):
        return entries
    there = {name: folder / name for name in hashes if isinstance(name, str) and (folder / name).is_file()}
    return entries | {_FILES: hashes | {name: content_hash(path.read_bytes()) for name, path in there.items()}}


def _rewrite(path: Path, change: Callable[[Entries], Entries]) -> None:
    """Change the entries of a file that still parses."""
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            changed = json.dumps(change(_mapping(json.loads(content)))).encode()
        elif path.suffix == ".yaml":
            changed = yaml.safe_dump(change(_mapping(yaml.safe_load(content))), sort_keys=False).encode()
        elif path.suffix == ".npz":
            changed = _rewritten_npz(content, change)
        else:
            changed = _rewritten_header(content, change)
    except Exception:  # whatever parsers raise for a damaged file; it has no checksum to put right
        return
    path.write_bytes(changed)


def _mapping(entries: Any) -> Entries:
    if not isinstance(entries, dict):
        raise TypeError
    return entries


def _rewritten_npz(content: bytes, change: Callable[[Entries], Entries]) -> bytes:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    arrays["metadata"] = np.array(json.dumps(change(_mapping(json.loads(str(arrays["metadata"]))))))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _rewritten_header(content: bytes, change: Callable[[Entries], Entries]) -> bytes:
    size = int.from_bytes(content[:8], "little")
    header = _mapping(json.loads(content[8 : 8 + size]))
    header["__metadata__"] = change(_mapping(header.get("__metadata__", {})))
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _reseal_tensors(path: Path) -> None:
    def blanked(entries: Entries) -> Entries:
        return entries | {_KEY: _BLANK} if _KEY in entries else entries

    _rewrite(path, blanked)
    content = path.read_bytes()
    mark = f'"{_KEY}":"{_BLANK}"'.encode()
    path.write_bytes(content.replace(mark, f'"{_KEY}":"{content_hash(content)}"'.encode(), 1))
