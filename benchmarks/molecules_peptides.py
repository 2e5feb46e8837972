"""Peptides and a small protein: the sampler beside Langevin dynamics and replica exchange at equal evaluations."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace

import mdtraj
import numpy as np
import openmm
import torch
from mcmc_comparison import langevin
from mcmc_scores import Dynamics
from molecules_files import Molecule
from molecules_levels import internal_target
from molecules_runs import effective_samples, observables, run_sampler
from molecules_tempering import tempering
from openmm import unit

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.analysis.diagnostics import chains_as_array, effective_sample_size, r_hat
from openmm_diffsampler.analysis.populations import population

#: Of Langevin dynamics, in ps and 1/ps.
TIMESTEP, FRICTION = 0.002, 1.0
#: Rungs of replica exchange for peptides, and its hottest temperature over that of the target.
N_RUNGS, HOTTEST = 12, 2.5
#: Chignolin is folded where these hydrogen bonds, residue and atom of both ends, are shorter than this, nm.
HYDROGEN_BONDS, FOLDED = (((2, "N"), (6, "O")), ((2, "N"), (7, "O"))), 0.5
#: Pull on those bonds, kJ/mol/nm², with the distance and the steps of dynamics that make a compact start; what holds
#: amides trans meanwhile, kJ/mol.
_PULL, _DISTANCE, _N_PULLED, _HOLD = 1000.0, 0.3, 40_000, 100.0


def peptides(molecule: Molecule, options: Namespace) -> dict:
    """Effective samples of every torsion per million evaluations, warm-up and learning included, of three samplers."""
    per_million, spent = {}, {}
    for name, (wt, evaluations) in _three(molecule, molecule.x, options).items():
        samples = effective_samples(wt, observables(molecule, wt))
        per_million[name] = {torsion: n / evaluations * 1e6 for torsion, n in samples.items()}
        spent[name] = evaluations
    return {"effective samples per million evaluations": per_million, "evaluations": spent}


def _three(molecule: Molecule, x: torch.Tensor, options: Namespace) -> dict[str, tuple[WeightedTrajectory, int]]:
    """Frames and evaluations of the sampler, Langevin dynamics and replica exchange, all from x."""
    molecule = molecule._replace(x=x)
    run = run_sampler(molecule, options.budget, options.chains, options.seed)
    dynamics = Dynamics(molecule.system.system, molecule.system.temperature, TIMESTEP, FRICTION)
    moved = langevin(SimpleNamespace(target=molecule.target, dynamics=dynamics), x, run.all_evaluations, options.seed)
    before = molecule.target.n_evaluations
    internal = internal_target(molecule)
    exchanged = tempering(molecule, internal, x[None], run.all_evaluations, options.seed, N_RUNGS, HOTTEST)
    spent = molecule.target.n_evaluations - before
    return {
        "sampler": (run.wt, run.all_evaluations),
        "Langevin dynamics": (moved.wt, moved.evaluations),
        "replica exchange": (exchanged, spent),
    }


def chignolin(molecule: Molecule, options: Namespace) -> dict:
    """Populations of the folded state by the three samplers, from the file's extended start and from a compact one."""
    samplers: dict[str, dict] = {}
    for start, x in (("extended", molecule.x), ("compact", compact(molecule))):
        for name, (wt, evaluations) in _three(molecule, x, options).items():
            u = chains_as_array(wt.reduced_potential.numpy(), wt.chain, wt.draw)
            samplers.setdefault(name, {})[start] = {
                "evaluations": evaluations,
                "folded": list(population(wt, is_folded(molecule.topology, wt.x))),
                "mean u": list(wt.expectation(wt.reduced_potential)),
                "words": f"{r_hat(u):.3f}, {effective_sample_size(u):.0f}",
            }
    return {"samplers": samplers}


def hydrogen_bonds(topology: mdtraj.Topology) -> list[tuple[int, int]]:
    """Indices of the atoms that the hydrogen bonds of the folded state join.

    Raises:
        ValueError: the molecule is too short, or has no such atoms.
    """
    index = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms}
    missing = [end for pair in HYDROGEN_BONDS for end in pair if end not in index]
    if missing:
        raise ValueError(f"there is no atom {missing[0][1]} in residue {missing[0][0] + 1}; is this chignolin?")
    return [(index[a], index[b]) for a, b in HYDROGEN_BONDS]


def is_folded(topology: mdtraj.Topology, x: torch.Tensor) -> np.ndarray:
    """(n, n_atoms, 3) → (n,) bool."""
    pairs = torch.tensor(hydrogen_bonds(topology))
    return ((x[:, pairs[:, 0]] - x[:, pairs[:, 1]]).norm(dim=-1) < FOLDED).all(1).numpy()


def compact(molecule: Molecule) -> torch.Tensor:
    """(n_atoms, 3) nm: a start whose hydrogen bonds were pulled together by dynamics, minimised without the pull.

    Amides are held trans meanwhile.

    Raises:
        ValueError: an amide is cis, or the molecule did not fold.
    """
    topology, start = molecule.topology, molecule.x.numpy()
    system = openmm.XmlSerializer.clone(molecule.system.system)
    pull, hold = openmm.HarmonicBondForce(), openmm.PeriodicTorsionForce()
    for a, b in hydrogen_bonds(topology):
        pull.addBond(a, b, _DISTANCE, _PULL)
    amides = mdtraj.compute_omega(mdtraj.Trajectory(start[None], topology))[0].tolist()
    for atoms in amides:
        hold.addTorsion(*atoms, 1, 0.0, _HOLD)
    system.addForce(pull)
    system.addForce(hold)
    integrator = openmm.LangevinMiddleIntegrator(molecule.system.temperature, 5.0, 0.001)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=500)
    integrator.step(_N_PULLED)
    pulled = context.getState(positions=True).getPositions()
    free = openmm.Context(
        molecule.system.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    free.setPositions(pulled)
    openmm.LocalEnergyMinimizer.minimize(free, maxIterations=2000)
    x = free.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    x = torch.as_tensor(np.asarray(x, dtype=np.float64))
    angles = mdtraj.compute_dihedrals(mdtraj.Trajectory(x.numpy()[None], topology), amides)
    if not (np.cos(angles) < 0).all() or not is_folded(topology, x[None])[0]:
        raise ValueError("the molecule did not fold to a compact start with trans amides")
    return x
