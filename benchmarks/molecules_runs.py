"""Runs of the recommended sampler, and what is watched in them."""

from __future__ import annotations

import time
import warnings
from typing import NamedTuple

import numpy as np
from molecules_files import Molecule

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.analysis.diagnostics import chains_as_array, effective_sample_size
from openmm_diffsampler.analysis.torsions import molecule_torsions
from openmm_diffsampler.coordinates import ring_torsions, saturated_rings
from openmm_diffsampler.coordinates.graph import equal_branches, neighbours, refined_colours
from openmm_diffsampler.mcmc import recommended_sampler
from openmm_diffsampler.mcmc.sampler import BatchedSampler

#: Share of a budget that chains adapt in, sweeps of that at least, draws of a chain at most.
WARMUP, LEAST_WARMUP, MOST_DRAWS = 0.1, 100, 2000
#: Indicators of states are watched from this population on.
LEAST_POPULATION = 0.01


class Run(NamedTuple):
    """A run, what it cost after warm-up and with all before, and the warnings that came up."""

    wt: WeightedTrajectory
    sampler: BatchedSampler
    evaluations: int
    all_evaluations: int
    seconds: float
    warnings: list[str]


def run_sampler(
    molecule: Molecule, budget: float, n_chains: int, seed: int, sampler: BatchedSampler | None = None
) -> Run:
    """The recommended sampler, from the molecule's start, for about `budget` evaluations with the warm-up.

    Arguments:
        molecule: what is sampled.
        budget: evaluations of all chains; what the sampler learns when it is made comes on top, and is counted.
        n_chains, seed: of the run.
        sampler: one that was made before for this molecule.

    Raises:
        ValueError: the sampler refuses the molecule, or a budget for fewer than four draws.
    """
    target, begin = molecule.target, time.perf_counter()
    before = target.n_evaluations
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if sampler is None:
            sampler = recommended_sampler(target, molecule.x)[0]
        sampler.sample(molecule.x, 1, n_chains=2, n_warmup=0)
        sweep = sum(row["evaluations"] for row in sampler.statistics) / 2  # of a chain
        n_sweeps = int(budget / (n_chains * sweep))
        n_warmup = max(LEAST_WARMUP, int(WARMUP * n_sweeps))
        thinning = max(1, -(-(n_sweeps - n_warmup) // MOST_DRAWS))
        n_draws = (n_sweeps - n_warmup) // thinning
        if n_draws < 4:
            raise ValueError(f"{budget:.3g} evaluations are {n_sweeps} sweeps of {n_chains} chains; give more")
        wt = sampler.sample(molecule.x, n_draws, n_chains=n_chains, n_warmup=n_warmup, thinning=thinning, seed=seed)
    sampling = sum(row["evaluations"] for row in sampler.statistics)
    return Run(
        wt,
        sampler,
        int(sampling),
        target.n_evaluations - before,
        time.perf_counter() - begin,
        sorted({str(warning.message) for warning in heard}),
    )


def observables(molecule: Molecule, wt: WeightedTrajectory, sampler: BatchedSampler | None = None) -> dict[str, list]:
    """Name → columns (n_frames,) of which the slowest counts: rotatable torsions, ring torsions, the sampler's basins.

    A torsion θ is watched as cos kθ and sin kθ, where turns by 360°/k make a symmetric group the same.
    """
    topology, watched = molecule.topology, {}
    bonded, colours = neighbours(topology), refined_colours(topology)
    for torsion in molecule_torsions(wt):
        order = 1
        if torsion.symmetric:
            order = max(len(branches) for _, _, branches in equal_branches(bonded, colours, *torsion.atoms[1:3]))
        angle = np.radians(torsion.angles)
        watched[torsion.name] = [np.cos(order * angle), np.sin(order * angle)]
    for ring in saturated_rings(topology):
        angles = ring_torsions(wt.x.double(), ring)
        watched["ring " + "-".join(map(str, ring))] = [column.numpy() for column in angles.sin().T]
    for basins in getattr(sampler, "basins", []):
        labels = basins.label(wt.x.double()).numpy()
        indicators = [(labels == k).astype(float) for k in range(basins.n_basins)]
        kept = [column for column in indicators if LEAST_POPULATION <= column.mean() <= 1 - LEAST_POPULATION]
        if kept:
            watched["basins of " + "-".join(map(str, basins.fragment.atoms))] = kept
    return watched


def effective_samples(wt: WeightedTrajectory, watched: dict[str, list]) -> dict[str, float]:
    """Name → the smallest effective sample size of its columns, by autocorrelation."""
    return {
        name: min(effective_sample_size(chains_as_array(column, wt.chain, wt.draw)) for column in columns)
        for name, columns in watched.items()
    }


def every(wt: WeightedTrajectory, most: int) -> WeightedTrajectory:
    """About so many frames at most, evenly over all chains and draws."""
    step = -(-len(wt) // most)
    return wt[(wt.draw + wt.chain) % step == 0]
