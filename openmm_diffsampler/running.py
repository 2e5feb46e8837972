"""From the words of a command to a target, a sampler and a start."""

import dataclasses
import shutil
from pathlib import Path

import torch
from openmm import unit

from .mcmc import HMC, MALA, DiffusiveGibbs, recommended_settings
from .targets import MolecularSystem, load_system

__all__ = ["build_run", "prepare_folder"]


def build_run(system, method, n_chains, seed, temperature, backend, given):
    """The target, the sampler and where `n_chains` chains start: all in one configuration, or each in its own.

    Arguments:
        system: name or folder.
        method: "digs", "hmc" or "mala".
        n_chains, seed: of the chains.
        temperature: in kelvin, or None for that of the system.
        backend: of molecular targets.
        given: settings of the sampler that replace the recommended ones; None is not given.
    """
    loaded = load_system(system)
    if isinstance(loaded, MolecularSystem):
        if temperature is not None:
            loaded = dataclasses.replace(loaded, temperature=temperature * unit.kelvin)
        target = loaded.target(backend=backend)
        initial = loaded.positions
    else:
        if temperature is not None or backend != "auto":
            raise ValueError(f"{loaded.name} is a density in closed form, which has no temperature and no backend")
        target = loaded.target()
        initial = target.normal(n_chains, torch.Generator().manual_seed(seed))
    settings = recommended_settings(target, initial, n_chains) | {k: v for k, v in given.items() if v not in (None, [])}
    if settings.get("torsion_scale") == 0:
        settings["torsion_scale"] = None
    return target, _sampler(target, method, settings), initial


def _sampler(target, method, settings):
    if method == "digs":
        return DiffusiveGibbs(target, **settings)
    if method == "hmc":
        return HMC(target, step_size=settings["step_size"], n_leapfrog=settings["n_leapfrog"])
    return MALA(target, step_size=settings["step_size"])


def prepare_folder(folder, overwrite):
    """Where checkpoints go in `folder`; refuses a finished run unless `overwrite`, which forgets it.

    Raises:
        FileExistsError: the folder holds a finished run, or things that are not of a run.
    """
    folder = Path(folder)
    checkpoint = folder / "checkpoint"
    finished = folder / "diagnostics.json"
    if overwrite:
        shutil.rmtree(checkpoint, ignore_errors=True)
        finished.unlink(missing_ok=True)  # or this run, killed, would look finished
    elif finished.exists():
        raise FileExistsError(f"{folder} holds a finished run; choose another --output, or pass --overwrite")
    elif folder.exists() and not checkpoint.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists and is not empty; choose another --output, or pass --overwrite")
    return checkpoint
