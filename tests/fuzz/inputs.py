"""Small things to write and read: a molecule of four atoms, two Gaussians, samplers that hardly trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import torch
from openmm import app, unit

from openmm_diffsampler import (
    EDG,
    HMC,
    IDEM,
    BoltzmannGenerator,
    DiKL,
    GaussianMixture,
    WeightedTrajectory,
    load_system,
    save_system,
)
from tests.samplers.small_dikl import FEW as FEW_OF_DIKL
from tests.samplers.small_edg import COLD
from tests.samplers.small_edg import FEW as FEW_OF_EDG

__all__ = [
    "METHODS",
    "fit_six_steps",
    "fitted",
    "interrupted_fit",
    "mixture",
    "peroxide",
    "run_of_chains",
    "sampler",
    "trajectory",
    "write_peroxide",
]

KELVIN = 300 * unit.kelvin
_FEW_OF_IDEM = {"buffer_size": 64, "batch_size": 16, "n_refresh": 8, "n_refresh_levels": 5, "refresh_every": 10}
_FEW_OF_BOLTZMANN = {
    "n_exploration": 20_000,
    "n_chains": 8,
    "batch_size": 16,
    "width": 8,
    "n_warmup": 2,
    "n_refresh": 8,
}
#: Name of a method -> its sampler of the mixture, or of the molecule where that is what it is for.
METHODS = {
    "boltzmann": lambda target: BoltzmannGenerator(target, **_FEW_OF_BOLTZMANN, n_components=2, n_layers=1),
    "idem": lambda target: IDEM(target, **_FEW_OF_IDEM, width=8),
    "dikl": lambda target: DiKL(target, **FEW_OF_DIKL),
    "edg": lambda target: EDG(target, **FEW_OF_EDG | COLD),
}


def peroxide() -> tuple[openmm.System, app.Topology, np.ndarray]:
    """H-O-O-H with the usual forces, one of them with an expression: System, topology, positions in nm."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("HPO", topology.addChain())
    atoms = []
    for name in ("H1", "O1", "O2", "H2"):
        element = app.Element.getBySymbol(name[0])
        system.addParticle(element.mass)
        atoms.append(topology.addAtom(name, element, residue))
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i, length in enumerate((0.097, 0.145, 0.097)):
        bonds.addBond(i, i + 1, length, 2e5)
        topology.addBond(atoms[i], atoms[i + 1])
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, 1.75, 500.0)
    torsions.addTorsion(0, 1, 2, 3, 2, 0.0, 5.0)
    nonbonded, pairs = openmm.NonbondedForce(), openmm.CustomBondForce("depth*(1-exp(-r/0.3))")
    for charge, sigma, epsilon in ((0.4, 0.1, 0.05), (-0.4, 0.3, 0.6), (-0.4, 0.3, 0.6), (0.4, 0.1, 0.05)):
        nonbonded.addParticle(charge, sigma, epsilon)
    nonbonded.createExceptionsFromBonds([(0, 1), (1, 2), (2, 3)], 0.8, 0.5)
    pairs.addPerBondParameter("depth")
    pairs.addBond(0, 3, [0.5])
    for force in (bonds, angles, torsions, nonbonded, pairs):
        system.addForce(force)
    return system, topology, np.array([[0.03, 0.09, 0.0], [0.0, 0.0, 0.0], [0.145, 0.0, 0.0], [0.175, 0.05, 0.075]])


def write_peroxide(folder: Path) -> None:
    """The folder of the molecule."""
    system, topology, positions = peroxide()
    save_system(folder, system, topology, positions * unit.nanometer, KELVIN, description="hydrogen peroxide, roughly")


def mixture() -> GaussianMixture:
    """Two Gaussians in the plane."""
    return GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], scales=0.7, name="two modes")


def fitted(method: str, folder: Path) -> Any:
    """A sampler after three steps; the Boltzmann generator of the molecule in `folder`, others of the mixture."""
    target = load_system(folder).target() if method == "boltzmann" else mixture()
    return METHODS[method](target).fit(3, precision="32-true")


class StoppedError(Exception):
    """Ends a training before its time."""


def interrupted_fit(method: str, folder: Path) -> None:
    """The checkpoint of a training of six steps that stopped after five."""
    started = sampler(method)
    loss = started._loss

    def until_five(run: Any) -> Any:
        if run.step == 5:
            raise StoppedError
        return loss(run)

    started._loss = until_five
    try:
        fit_six_steps(started, folder)
    except StoppedError:
        return


def fit_six_steps(sampler: Any, folder: Path) -> Any:
    """Train, or go on, in a precision that every processor has."""
    return sampler.fit(6, checkpoint=folder, checkpoint_every=2, metrics_every=1, precision="32-true")


def sampler(method: str) -> Any:
    """One of the mixture that has not been trained."""
    return METHODS[method](mixture())


def run_of_chains(folder: Path, n_draws: int) -> WeightedTrajectory:
    """Four chains, which go on where the checkpoint in `folder` ends."""
    start = torch.zeros(2, dtype=torch.float64)
    chains = HMC(mixture(), step_size=0.3)
    return chains.sample(start, n_draws, n_chains=4, n_warmup=4, seed=0, checkpoint=folder, checkpoint_every=4)


def trajectory() -> WeightedTrajectory:
    """Five weighted frames of the molecule."""
    import mdtraj

    _, topology, positions = peroxide()
    noise = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return WeightedTrajectory(
        torch.as_tensor(positions) + 0.01 * noise,
        noise[:, 0, 0],
        kind="importance",
        topology=mdtraj.Topology.from_openmm(topology),
        reduced_potential=noise[:, 1, 1],
        temperature=KELVIN,
    )
