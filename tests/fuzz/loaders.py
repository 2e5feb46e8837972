"""What is read from disk: how a valid folder of each kind is made, and the numbers that it must give."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget, WeightedTrajectory, load_system
from openmm_diffsampler.samplers import load_sampler

from .inputs import (
    METHODS,
    fit_six_steps,
    fitted,
    interrupted_fit,
    mixture,
    peroxide,
    run_of_chains,
    sampler,
    trajectory,
    write_peroxide,
)

__all__ = ["LOADERS", "Loader"]

_TRAJECTORIES = ("dcd", "xtc", "trr", "nc", "npz", "pdb", "cif", "gro", "xyz", "mdcrd")


@dataclass(frozen=True)
class Loader:
    """One thing that is read from disk.

    Arguments:
        make: writes a valid folder.
        load: reads it; whatever is wrong with a file is told here, by the file's name.
        numbers: uses what was loaded and gives nested lists, tensors and plain values that damage must not change.
        share: inputs of it in a campaign, relative to others.
        is_sealed: whether there is a checksum of all of it.
    """

    make: Callable[[Path], None]
    load: Callable[[Path], Any]
    numbers: Callable[[Any], Any]
    share: int = 2
    is_sealed: bool = True


def _atoms_and_bonds(topology: Any) -> Any:
    atoms = [(a.name, a.element and a.element.symbol, a.residue.name, a.residue.index) for a in topology.atoms()]
    return atoms, sorted(tuple(sorted((a.index, b.index))) for a, b in topology.bonds())


def _numbers_of_system(loaded: Any) -> Any:
    positions = torch.as_tensor(peroxide()[2])
    u, score = loaded.target(backend="torch").reduced_potential_and_score(positions[None])
    by_openmm = loaded.target(backend="openmm", platform="Reference", n_contexts=1).reduced_potential(positions[None])
    start = loaded.positions.value_in_unit(unit.nanometer)
    said = [loaded.length_unit, loaded.description, str(loaded.temperature)]
    return said, _atoms_and_bonds(loaded.topology), start, u, score, by_openmm


def _write_density(folder: Path) -> None:
    folder.mkdir()
    text = "name: wells\ndensity: mw32\nparameters: {n_pairs: 16}\ndescription: sixteen pairs\n"
    (folder / "system.yaml").write_text(text)


def _numbers_of_density(loaded: Any) -> Any:
    target = loaded.target()
    return target.reduced_potential(torch.full((1, *target.event_shape), 0.3, dtype=torch.float64)), target.log_Z


def _sampler(method: str) -> Loader:
    def make(folder: Path) -> None:
        molecule = folder.with_name(f"{folder.name}-molecule")
        if method == "boltzmann":
            write_peroxide(molecule)
        fitted(method, molecule).save(folder)

    def load(folder: Path) -> Any:
        return load_sampler(folder) if method == "boltzmann" else load_sampler(folder, mixture())

    def numbers(loaded: Any) -> Any:
        wt = loaded.sample(4, seed=1)
        return wt.x, wt.log_weights, wt.reduced_potential, wt.temperature and str(wt.temperature)

    return Loader(make, load, numbers, 3 if method == "boltzmann" else 2)


def _fit(method: str, share: int) -> Loader:
    def load(folder: Path) -> Any:
        return folder / "metrics.csv", fit_six_steps(sampler(method), folder)

    def numbers(loaded: Any) -> Any:
        metrics, trained = loaded
        with open(metrics, newline="") as file:
            rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
        return rows, list(trained.average.parameters()), trained.record["n_evaluations"], trained.sample(4, seed=1).x

    return Loader(lambda folder: interrupted_fit(method, folder), load, numbers, share)


def _trajectory(suffix: str) -> Loader:
    def make(folder: Path) -> None:
        folder.mkdir()
        trajectory().save(folder / f"frames.{suffix}")

    def load(folder: Path) -> Any:
        return WeightedTrajectory.load(folder / f"frames.{suffix}")

    def numbers(wt: Any) -> Any:
        atoms = None if wt.topology is None else _atoms_and_bonds(wt.topology.to_openmm())
        return wt.x, wt.log_weights, wt.reduced_potential, str(wt.temperature), wt.kind, atoms

    return Loader(make, load, numbers, 2 if suffix in ("dcd", "xtc", "trr", "nc", "npz") else 1)


def _target_by_kernel(cache: Path) -> Any:
    os.environ["OPENMM_DIFFSAMPLER_CACHE"] = str(cache)
    try:
        system, _, positions = peroxide()
        return OpenMMTarget(system, 300 * unit.kelvin, backend="kernel", positions=positions * unit.nanometer)
    finally:
        del os.environ["OPENMM_DIFFSAMPLER_CACHE"]


def _keep_kernel(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    _target_by_kernel(cache)


def _energies(target: Any) -> Any:
    return target.reduced_potential_and_score(torch.as_tensor(peroxide()[2])[None])


#: What is read from disk, by what it is called in the table.
LOADERS: dict[str, Loader] = {
    "system folder": Loader(write_peroxide, load_system, _numbers_of_system, 6),
    "system folder of a density": Loader(_write_density, load_system, _numbers_of_density, 1, is_sealed=False),
    **{f"sampler folder, {method}": _sampler(method) for method in METHODS},
    "checkpoint of a run": Loader(
        lambda folder: run_of_chains(folder, 12) and None,
        lambda folder: run_of_chains(folder, 16),
        lambda wt: (wt.x, wt.reduced_potential, wt.chain, wt.draw),
        6,
    ),
    # Not of the Boltzmann generator, which takes seconds to explore.
    **{f"checkpoint of a training, {m}": _fit(m, share) for m, share in (("idem", 4), ("dikl", 1), ("edg", 1))},
    **{f"trajectory, {suffix}": _trajectory(suffix) for suffix in _TRAJECTORIES},
    "kept kernel": Loader(_keep_kernel, _target_by_kernel, _energies, 1),
}
