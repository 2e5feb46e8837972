"""Trained samplers as folders: ``sampler.json``, ``model.safetensors``, and a molecule of one's own in ``system/``."""

import dataclasses
import json
import os
from pathlib import Path

from openmm import unit

from openmm_diffsampler.targets import list_systems, load_system, save_system
from openmm_diffsampler.targets.system import system_directory

from .state_files import load_state, save_state

__all__ = ["description", "load_folder", "pretrained_folder", "save_folder"]

_FORMAT = 1
_DESCRIPTION, _WEIGHTS, _SYSTEM = "sampler.json", "model.safetensors", "system"


def save_folder(sampler, folder):
    """Write a :class:`~openmm_diffsampler.samplers.Sampler`; see :meth:`Sampler.save`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _save_system(sampler.target.frames_of, folder / _SYSTEM)
    state = {"model": dict(sampler.average.state_dict()), "sampling": sampler._sampling_state()}
    save_state(folder / _WEIGHTS, state)
    saved = {
        "format": _FORMAT,
        "method": sampler.method,
        "preset": sampler.preset,
        "seed": sampler.seed,
        "settings": dataclasses.asdict(sampler.settings),
        "target": sampler.target.identity(),
        "training": sampler.record,
    }
    unfinished = folder / "sampler.unfinished"
    unfinished.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, folder / _DESCRIPTION)


def _save_system(target, folder):
    """The molecule itself, unless it is built in, so that the sampler can be used without its author."""
    if not hasattr(target, "system") or target.positions is None or target.name in list_systems():
        return
    save_system(
        folder,
        target.system,
        target.topology.to_openmm(),
        target.positions.numpy() * unit.nanometer,
        target.temperature,
        overwrite=True,
    )


def load_folder(kind, folder, target=None):
    """The sampler of class `kind` in `folder`; see :meth:`Sampler.load`."""
    folder = Path(folder)
    saved = description(folder)
    if saved["method"] != kind.method:
        raise ValueError(f"{folder} holds a sampler of method {saved['method']!r}, not {kind.method!r}")
    recorded = saved["target"]
    if target is None:
        target = _recorded_target(folder, recorded["name"])
    ours = target.identity()
    shared = [k for k in ("density", "system", "temperature") if k in recorded and k in ours]
    differing = [k for k in shared if recorded[k] != ours[k]]
    if differing:
        raise ValueError(f"{folder} was trained on {recorded['name']!r} with another {', '.join(differing)}")
    state = load_state(folder / _WEIGHTS)
    try:
        sampler = kind(target, saved["preset"], seed=saved["seed"], **saved["settings"])
        shape = sampler.target.identity()["event shape"]  # of the coordinates that the sampler chose
        if shape != recorded["event shape"]:
            raise ValueError(f"{folder} was trained on {recorded['name']!r} with another event shape")
        for module in (sampler.model, sampler.average):
            module.load_state_dict(state["model"])
        sampler._load_sampling_state(state["sampling"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds settings or weights that this version cannot use: {error}") from None
    sampler.record = saved["training"]
    return sampler


def _recorded_target(folder, name):
    """The molecule that was saved with the sampler, or the built-in system of that name."""
    own = folder / _SYSTEM
    return dataclasses.replace(load_system(own if own.exists() else name), name=name).target()


def pretrained_folder(name, method):
    """Where the weights of a method that come with a built-in system are.

    Raises:
        FileNotFoundError: there are none.
    """
    folder = system_directory(name) / "pretrained" / method
    if not (folder / _DESCRIPTION).exists():
        raise FileNotFoundError(f"no weights of method {method!r} come with {name!r}; train them with fit()")
    return folder


def description(folder):
    """What :meth:`Sampler.save` wrote about the sampler in `folder`, checked.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or of another format.
    """
    path = Path(folder) / _DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}; save() writes it")
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        version = saved["format"]
        missing = {"method", "preset", "seed", "settings", "target", "training"} - set(saved)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if version != _FORMAT or missing:
        raise ValueError(f"{path} has format {version}, and this version reads format {_FORMAT}")
    return saved
