"""Trained samplers as folders: ``sampler.json``, ``model.safetensors``, and a molecule of one's own in ``system/``."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from openmm import OpenMMException

from openmm_diffsampler._common.quoting import shortened, shown
from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning, file_hash, sealed_json
from openmm_diffsampler._common.whole_files import written_whole
from openmm_diffsampler.targets import Target
from openmm_diffsampler.targets.system import system_directory
from openmm_diffsampler.targets.system_hash import is_hash_of

from .allocation_limit import limited_allocation
from .loaded_states import load_weights
from .sampler_description import DESCRIPTION, FORMAT, description
from .saved_systems import SYSTEM, SYSTEM_FILE, recorded_target, save_target
from .state_files import load_state, save_state

if TYPE_CHECKING:
    from .base import Sampler

__all__ = ["description", "load_folder", "pretrained_folder", "require_target", "save_folder"]

_WEIGHTS = "model.safetensors"
#: Entries of identities that are not about the density.
_NOT_THE_DENSITY = ("name", "event shape", "dtype", "backend", "held")
#: Bytes and tensors that networks may take beside a multiple of those of the weights: some are not saved.
_MOST_BYTES, _MOST_TENSORS, _TIMES_WEIGHTS = 1 << 30, 10_000, 10
#: What numbers raise that are not those of a sampler.
_UNFIT = (
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    OpenMMException,
)


def save_folder(sampler: Sampler, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Write a :class:`~openmm_diffsampler.samplers.Sampler`; see :meth:`Sampler.save`."""
    folder = Path(folder)
    if not overwrite:
        _require_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    system = save_target(sampler.target.frames_of, folder)
    state = {"model": dict(sampler.average.state_dict()), "sampling": sampler._sampling_state()}
    others = {} if system is None else {SYSTEM_FILE: file_hash(folder / SYSTEM_FILE)}
    # Both are on the disk before either takes the place of an older one: a full disk leaves those that were there.
    with written_whole(folder / DESCRIPTION) as text, written_whole(folder / _WEIGHTS) as weights:
        save_state(weights, state)
        saved = {
            "format": FORMAT,
            "method": sampler.method,
            "preset": sampler.preset,
            "seed": sampler.seed,
            "settings": dataclasses.asdict(sampler.settings),
            "target": sampler.target.identity(),
            "training": sampler.record,
            "files": {_WEIGHTS: file_hash(weights), **others},
            "system": system,
        }
        text.write_text(sealed_json(saved), encoding="utf-8", newline="\n")


def _require_own(folder: Path) -> None:
    """Raise for files that a sampler would replace and that are not of one."""
    saved: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError, DamagedFileError), warnings.catch_warnings():
        warnings.simplefilter("ignore", UnsealedFileWarning)
        saved = description(folder)
    hashes = saved.get("files")
    ours = {DESCRIPTION} if saved else set()
    for name, file in ((_WEIGHTS, _WEIGHTS), (SYSTEM, SYSTEM_FILE)):
        # Samplers of earlier versions have no hashes, and are believed.
        is_known = saved and (
            hashes is None or ((folder / file).is_file() and hashes.get(file) == file_hash(folder / file))
        )
        ours |= {name} if is_known else set()
    foreign = [name for name in (DESCRIPTION, _WEIGHTS, SYSTEM) if name not in ours and (folder / name).exists()]
    if foreign:
        raise FileExistsError(
            f"{folder} has {', '.join(foreign)}, which no sampler wrote, or not the one that is there; save into "
            "another folder, or pass overwrite=True"
        )


def load_folder(
    kind: type[Sampler], folder: str | os.PathLike[str], target: Target | None = None, *, trust: bool = False
) -> Sampler:
    """The sampler of class `kind` in `folder`; see :meth:`Sampler.load`."""
    folder = Path(folder)
    saved = description(folder)
    if saved["method"] != kind.method:
        raise ValueError(f"{folder} holds a sampler of method {shown(saved['method'])}, not {kind.method!r}")
    if target is None:
        target = recorded_target(folder, saved, trust)
    require_target(target)
    _require_same_target(folder, saved["target"], target)
    state = load_state(folder / _WEIGHTS, (saved.get("files") or {}).get(_WEIGHTS))
    n_bytes, n_tensors = _size(state)
    try:
        with limited_allocation(_MOST_BYTES + _TIMES_WEIGHTS * n_bytes, _MOST_TENSORS + _TIMES_WEIGHTS * n_tensors):
            sampler = kind(target, saved["preset"], seed=saved["seed"], **saved["settings"])
    except _UNFIT as error:
        raise _unfit(folder / DESCRIPTION, "settings", error) from error
    _require_same_shape(folder, saved["target"], sampler)
    try:
        for module in (sampler.model, sampler.average):
            load_weights(module, state, "model")
        sampler._load_sampling_state(state["sampling"])
    except _UNFIT as error:
        raise _unfit(folder / _WEIGHTS, "numbers", error) from error
    sampler.record = saved["training"]
    return sampler


def _size(state: object) -> tuple[int, int]:
    """Bytes and tensors of a nested dict."""
    if isinstance(state, dict):
        sizes = [_size(value) for value in state.values()]
        return sum(n for n, _ in sizes), sum(n for _, n in sizes)
    return (state.nbytes, 1) if isinstance(state, torch.Tensor) else (0, 0)


def _unfit(path: Path, what: str, error: Exception) -> DamagedFileError:
    reason = f"there is no {error}" if isinstance(error, KeyError) else shortened(error)
    return DamagedFileError(f"{path} holds {what} that this version cannot use: {reason}; restore it, or train again")


def require_target(target: object) -> None:
    """Raise TypeError unless it is a :class:`~openmm_diffsampler.targets.Target`."""
    if not isinstance(target, Target):
        advice = "give its .target()" if hasattr(target, "target") else "give one, such as load_system(name).target()"
        raise TypeError(f"target is a {type(target).__name__}, not a Target; {advice}")


def _require_same_target(folder: Path, recorded: dict[str, Any], target: Target) -> None:
    """Raise ValueError if the target is another one than the sampler was trained on."""
    ours = target.identity()
    shared = [key for key in ours if key in recorded and key not in _NOT_THE_DENSITY]
    differing = [key for key in shared if not _is_same(key, recorded[key], target)]
    if ("system" in ours) != ("system" in recorded):
        differing = ["kind of density" if "system" in ours else "kind of density (it was a molecule, an OpenMM System)"]
    if differing:
        raise ValueError(
            f"{folder} was trained on {shown(recorded['name'])} with another {', '.join(differing)}, not on {target!r}"
            "; give the target that it was trained on"
        )


def _is_same(key: str, theirs: object, target: Target) -> bool:
    if key == "system" and hasattr(target.frames_of, "system"):
        return isinstance(theirs, str) and is_hash_of(theirs, target.frames_of.system)
    return theirs == target.identity()[key]


def _require_same_shape(folder: Path, recorded: dict[str, Any], sampler: Sampler) -> None:
    """Of the coordinates that the sampler chose."""
    shape = sampler.target.identity()["event shape"]
    if shape != recorded["event shape"]:
        raise ValueError(
            f"{folder} was trained on {shown(recorded['name'])} with another event shape, "
            f"{shown(recorded['event shape'])} in place of {shape}"
        )


def pretrained_folder(name: str, method: str) -> Path:
    """Where the weights of a method that come with a built-in system are.

    Raises:
        FileNotFoundError: there are none.
    """
    folder = system_directory(name) / "pretrained" / method
    if not (folder / DESCRIPTION).exists():
        raise FileNotFoundError(f"no weights of method {method!r} come with {name!r}; train them with fit()")
    return folder
