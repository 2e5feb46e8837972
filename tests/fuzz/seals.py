"""Checksums taken out of a folder, as in those of earlier versions, and put right after an edit, as a forger would."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from openmm_diffsampler._common.sealed_files import content_hash, file_hash, sealed_json
from openmm_diffsampler.analysis.frame_files import fingerprint
from openmm_diffsampler.analysis.trajectory_archive import write_archive

__all__ = ["reseal", "unseal"]

_KEY = "sha256"
_BLANK = "0" * 64
#: Entries with checksums of other files, which earlier versions did not write.
_OF_OTHERS = {"system.yaml": ("files",), "sampler.json": ("files", "weights", "system")}
#: Files that have checksums of those before them.
_ORDER = ("system.yaml", "sampler.json")

Entries = dict[str, Any]


def unseal(folder: Path) -> None:
    """Take every checksum out of the files of `folder`."""
    for path in _sealed_files(folder):
        gone = (_KEY, *_OF_OTHERS.get(path.name, ()))
        if path.suffix == ".npz":
            _attempt(path, _unsealed_archive)
        else:
            _rewrite(path, lambda entries, gone=gone: {k: v for k, v in entries.items() if k not in gone})


def reseal(folder: Path) -> None:
    """Give every file that has a checksum one that fits, where it is whole enough; those with hashes of others last."""
    before = None
    for path in sorted(_sealed_files(folder), key=lambda p: (p.name in _ORDER and 1 + _ORDER.index(p.name), p.parts)):
        if path.suffix == ".safetensors":
            before = _reseal_tensors(path, before)
        elif path.suffix == ".npz":
            _attempt(path, lambda content, path=path: _resealed_archive(path, content))
        else:
            _rewrite(path, lambda entries, path=path: _resealed(entries, path))


def _sealed_files(folder: Path) -> list[Path]:
    suffixes = (".json", ".yaml", ".safetensors", ".npz")
    return [path for path in sorted(folder.rglob("*")) if path.suffix in suffixes and path.is_file()]


def _resealed(entries: Entries, path: Path) -> Entries:
    if _KEY not in entries:
        return entries
    kept = {key: value for key, value in entries.items() if key != _KEY}
    folder = path.parent
    if isinstance(hashes := kept.get("files"), dict):
        there = [name for name in hashes if isinstance(name, str) and (folder / name).is_file()]
        kept["files"] = hashes | {name: content_hash((folder / name).read_bytes()) for name in there}
    for key, beside in (("weights", "model.safetensors"), ("system", "system/system.yaml")):
        if isinstance(known := kept.get(key), dict) and (folder / beside).is_file():
            kept[key] = known | {_KEY: file_hash(folder / beside)}
    return json.loads(sealed_json(kept))


def _attempt(path: Path, change: Callable[[bytes], bytes]) -> None:
    content = path.read_bytes()
    try:
        changed = change(content)
    except Exception:  # whatever parsers raise for a damaged file; it has no checksum to take out or put right
        return
    path.write_bytes(changed)


def _rewrite(path: Path, change: Callable[[Entries], Entries]) -> None:
    """Change the entries of a file that still parses."""

    def changed(content: bytes) -> bytes:
        if path.suffix == ".json":
            return json.dumps(change(_mapping(json.loads(content)))).encode()
        if path.suffix == ".yaml":
            return yaml.safe_dump(change(_mapping(yaml.safe_load(content))), sort_keys=False).encode()
        size = int.from_bytes(content[:8], "little")
        header = _mapping(json.loads(content[8 : 8 + size]))
        header["__metadata__"] = change(_mapping(header.get("__metadata__", {})))
        text = json.dumps(header, separators=(",", ":")).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + size :]

    _attempt(path, changed)


def _mapping(entries: Any) -> Entries:
    if not isinstance(entries, dict):
        raise TypeError
    return entries


def _reseal_tensors(path: Path, before: list[str] | None) -> list[str] | None:
    """Returns what a block of a run says about the one before it, its name and checksum."""

    def blanked(entries: Entries) -> Entries:
        if _KEY not in entries:
            return entries
        after = {"after": json.dumps(before)} if entries.get("after", "null") != "null" and before else {}
        return entries | {_KEY: _BLANK} | after

    _rewrite(path, blanked)
    content = path.read_bytes()
    mark, digest = f'"{_KEY}":"{_BLANK}"'.encode(), content_hash(content)
    if mark not in content:
        return before
    path.write_bytes(content.replace(mark, f'"{_KEY}":"{digest}"'.encode(), 1))
    return [path.name, digest] if path.name.startswith(("block-", "warm-up")) else None


def _opened(content: bytes) -> tuple[dict[str, np.ndarray], Entries]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    return arrays, _mapping(json.loads(str(arrays.pop("metadata"))))


def _unsealed_archive(content: bytes) -> bytes:
    arrays, metadata = _opened(content)
    metadata = {k: v for k, v in metadata.items() if k not in ("format", "frames_hash", "topology_hash")}
    arrays.pop("topology", None)
    out = io.BytesIO()
    np.savez(out, metadata=np.array(json.dumps(metadata)), **arrays)
    return out.getvalue()


def _resealed_archive(path: Path, content: bytes) -> bytes:
    arrays, metadata = _opened(content)
    if "format" not in metadata:
        return content
    stem = path.name.removesuffix(".npz").removesuffix(".weights")
    frames = [p for p in path.parent.glob(f"{stem}.*") if p != path and p.name.count(".") == 1]
    for key, beside in (("frames_hash", frames), ("topology_hash", [path.with_name(f"{stem}.topology.pdb")])):
        if isinstance(metadata.get(key), str) and beside and beside[0].is_file():
            metadata[key] = file_hash(beside[0])
    if "x" in arrays:
        metadata["fingerprint"] = fingerprint(arrays["x"])
    write_archive(path, arrays, metadata)
    return path.read_bytes()
