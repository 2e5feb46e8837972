"""What molecules.py measures of one molecule: functions of a molecule and options that return a row, and its tables."""

from __future__ import annotations

import time
from argparse import Namespace

import numpy as np
import torch
from molecules_files import Molecule
from molecules_levels import Levels, etkdg_levels, internal_target, ring_words, sorted_distances
from molecules_runs import effective_samples, every, observables, run_sampler
from molecules_tempering import tempering

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.analysis import torsion_convergence
from openmm_diffsampler.analysis.populations import population
from openmm_diffsampler.analysis.verdict import judge
from openmm_diffsampler.coordinates.rdkit_conformers import rdkit_conformers
from openmm_diffsampler.mcmc import Goal, recommended_sampler
from openmm_diffsampler.targets.units import thermal_energy

#: Conformer levels up to here above the lowest count, kJ/mol.
WINDOW = 8.0
#: Conformers up to here are given as starts, kJ/mol.
START_WINDOW = 12.0
#: Frames nearest to a level that no frame was seen in, minimised to see whether one belongs to it after all.
_N_NEAREST = 64
#: Populations from here on are compared; states above the second may not be missing.
COMPARED, NEVER_MISSING = 0.01, 0.05
#: Standard errors that populations may differ by.
MOST_Z = 3.0


def conformers(molecule: Molecule, options: Namespace) -> dict:
    """Levels up to 8 kJ/mol that ETKDG finds, and which of them a run visits."""
    levels = etkdg_levels(molecule, options.embeddings, options.seed)
    u = np.array(levels.u)
    height = (u - u.min()) * thermal_energy(molecule.system.temperature)  # kJ/mol
    wanted = np.where(height <= WINDOW)[0]
    run = run_sampler(molecule, options.budget, options.chains, options.seed)
    seen = set(levels.label(every(run.wt, options.quenched).x).tolist())
    for k in wanted:
        if k not in seen:
            seen |= set(levels.label(_nearest(molecule, run.wt, levels.x[k])).tolist())
    found = np.array(levels.u)
    return {
        "levels": len(wanted),
        "visited": int(sum(k in seen for k in wanted)),
        "missing, kJ/mol": [round(float(height[k]), 2) for k in wanted if k not in seen],
        "missing": [ring_words(molecule.topology, levels.x[k]) for k in wanted if k not in seen],
        "levels that ETKDG lacks": int(
            sum((found[len(u) :] - found.min()) * thermal_energy(molecule.system.temperature) <= WINDOW)
        ),
        "lowest, below ETKDG's, kT": round(float(u.min() - found.min()), 3),
        **_cost(run),
    }


def _nearest(molecule: Molecule, wt: WeightedTrajectory, x: torch.Tensor) -> torch.Tensor:
    """The frames whose sorted distances are nearest to those of x (n_atoms, 3)."""
    shape = sorted_distances(molecule.topology, x[None])
    far = torch.cat([(sorted_distances(molecule.topology, part) - shape).square().sum(1) for part in wt.x.split(4096)])
    return wt.x[far.argsort()[:_N_NEAREST]]


def starts(molecule: Molecule, options: Namespace) -> dict:
    """Populations of levels by runs of which each is given another conformer, up to 12 kJ/mol above the lowest."""
    levels = etkdg_levels(molecule, options.embeddings, options.seed)
    u = np.array(levels.u)
    height = (u - u.min()) * thermal_energy(molecule.system.temperature)
    given = [k for k in np.argsort(u) if height[k] <= START_WINDOW]
    rows = []
    for k in given:
        run = run_sampler(molecule._replace(x=levels.x[k]), options.budget, options.chains, options.seed)
        frames = every(run.wt, options.quenched)
        labels = levels.label(frames.x).numpy()
        rows.append(
            {
                "start, kT": float(u[k] - u.min()),
                "populations": [_estimate(frames, labels == j) for j in given],
                "mean u": list(run.wt.expectation(run.wt.reduced_potential)),
                **_cost(run),
            }
        )
    words = [ring_words(molecule.topology, levels.x[k]) for k in given]
    return {"starts": rows, "levels, kT": [float(u[k] - u.min()) for k in given], "rings": words}


def ess(molecule: Molecule, options: Namespace) -> dict:
    """Evaluations after warm-up for each effective sample of the slowest torsion, ring or basin."""
    run = run_sampler(molecule, options.budget, options.chains, options.seed)
    samples = effective_samples(run.wt, observables(molecule, run.wt, run.sampler))
    if not samples:
        samples = run.wt.ess_by_observable
    slowest = min(samples, key=samples.get)
    return {
        "evaluations per effective sample": run.evaluations / samples[slowest],
        "slowest": slowest,
        "effective samples": samples[slowest],
        "frames": len(run.wt),
        **_cost(run),
    }


def done(molecule: Molecule, options: Namespace) -> dict:
    """A run as `openmm-diffsampler run` makes it: what ends it, after how long, and what its verdict is."""
    begin = time.perf_counter()
    sampler = recommended_sampler(molecule.target, molecule.x)[0]
    goal = Goal(evaluations=options.budget)
    wt = sampler.sample(molecule.x, goal=goal, n_chains=options.chains, thinning=2, seed=options.seed)
    seconds = time.perf_counter() - begin
    found = judge(wt, sampler.landscape, torsion_convergence(wt), sampler.ended)
    worst = found.watched[0]
    return {
        "converged": found.is_converged,
        "seconds": round(seconds, 1),
        "evaluations": sampler.n_spent,
        "slowest": worst.name,
        "R-hat": worst.r_hat,
        "effective samples": worst.effective_sample_size,
        "sentence": found.sentence,
        "warnings": list(found.warnings),
    }


def reference(molecule: Molecule, options: Namespace) -> dict:
    """Populations of levels and ⟨u⟩ by replica exchange that starts at conformers of RDKit."""
    levels, wt = _tempered(molecule, options, options.budget)
    mean, error = wt.expectation(wt.reduced_potential)
    quenched = every(wt, options.quenched)
    labels = levels.label(quenched.x).numpy()
    rows = []
    for k in np.argsort(levels.u):
        p, standard_error = population(quenched, labels == k)
        if p > 0 or levels.u[k] - min(levels.u) < 2 * WINDOW / thermal_energy(molecule.system.temperature):
            rows.append(
                {
                    "height, kT": round(levels.u[k] - min(levels.u), 3),
                    "population": p,
                    "standard error": standard_error,
                    "rings": ring_words(molecule.topology, levels.x[k]),
                }
            )
    return {
        "mean u": mean,
        "standard error of mean u": error,
        "lowest u": min(levels.u),
        "levels": rows,
        "chairs": _estimate(quenched, np.array(["chair" in ring_words(molecule.topology, x) for x in quenched.x])),
        "without boats": _estimate(
            quenched, np.array(["boat" not in ring_words(molecule.topology, x) for x in quenched.x])
        ),
    }


def populations(molecule: Molecule, options: Namespace) -> dict:
    """Populations of levels by a run and by replica exchange of `options.ratio` times the budget, with z of each."""
    run = run_sampler(molecule, options.budget, options.chains, options.seed)
    levels, wt = _tempered(molecule, options, options.ratio * run.all_evaluations)
    both = [every(frames, options.quenched) for frames in (run.wt, wt)]
    labels = [levels.label(frames.x).numpy() for frames in both]
    rows = []
    for k in range(len(levels.u)):
        (p, p_error), (q, q_error) = (
            population(frames, label == k) for frames, label in zip(both, labels, strict=True)
        )
        if max(p, q) < COMPARED:
            continue
        error = float(np.hypot(np.nan_to_num(p_error), np.nan_to_num(q_error)))
        z = (p - q) / error if error > 0 else 0.0 if p == q else float(np.copysign(np.inf, p - q))
        rows.append({"sampler": p, "tempering": q, "z": z, "height, kT": levels.u[k] - min(levels.u)})
    (mean, error), (right, right_error) = (frames.expectation(frames.reduced_potential) for frames in (run.wt, wt))
    return {
        "basins": rows,
        "missing": [row for row in rows if row["sampler"] == 0 and row["tempering"] > NEVER_MISSING],
        "mean u": [mean, error, right, right_error, (mean - right) / np.hypot(error, right_error)],
        **_cost(run),
    }


def calibration(molecule: Molecule, options: Namespace) -> dict:
    """Standard deviation of (estimate − mean)/(standard error) over repeats with seeds from `options.seed` on."""
    sampler = recommended_sampler(molecule.target, molecule.x)[0]
    estimates: dict[str, list] = {}
    for seed in range(options.seed, options.seed + options.repeats):
        wt = run_sampler(molecule, options.budget, options.chains, seed, sampler).wt
        watched = {"u": [wt.reduced_potential.numpy()]} | observables(molecule, wt)
        for basins in getattr(sampler, "basins", []):
            labels = basins.label(wt.x.double()).numpy()
            atoms = "-".join(map(str, basins.fragment.atoms))
            watched[f"basins of {atoms}"] = [(labels == k) * 1.0 for k in range(basins.n_basins)]
        for name, columns in watched.items():
            for k, column in enumerate(columns):
                estimates.setdefault(f"{name} {k}", []).append(tuple(wt.expectation(column)))
    deviations = {}
    for name, pairs in estimates.items():
        values, errors = np.array(pairs).T
        # Where a state is rare, errors of some repeats are zero or unknown, and normal intervals are not meant.
        if (errors > 0).all():
            z = (values - values.mean()) / errors * np.sqrt(len(values) / (len(values) - 1))
            deviations[name] = float(z.std())
    return {"repeats": options.repeats, "standard deviations of z": deviations}


def _tempered(molecule: Molecule, options: Namespace, budget: float) -> tuple[Levels, WeightedTrajectory]:
    """Levels of the conformers that replica exchange starts at, and its frames; seeds differ from the sampler's."""
    levels = Levels(internal_target(molecule))
    found = rdkit_conformers(molecule.topology, molecule.x, options.embeddings, options.seed + 1)
    levels.label(torch.cat([molecule.x[None], found]))
    starts = torch.stack([levels.x[k] for k in np.argsort(levels.u)])
    return levels, tempering(molecule, levels.internal, starts, budget, options.seed + 1)


def _estimate(wt: WeightedTrajectory, inside: np.ndarray) -> list[float]:
    return list(population(wt, inside))


def _cost(run) -> dict:
    return {
        "evaluations": run.evaluations,
        "with warm-up and learning": run.all_evaluations,
        "seconds": round(run.seconds, 1),
        "warnings": run.warnings,
    }
