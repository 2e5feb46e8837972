"""Free energies of hydration in implicit solvent, from samples in vacuum and in solvent."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import torch
from molecules_files import Molecule, experiments, find_molecules, read_molecule
from molecules_levels import Levels, internal_target
from molecules_runs import run_sampler

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.analysis.diagnostics import chains_as_array, effective_sample_size
from openmm_diffsampler.coordinates.rdkit_conformers import rdkit_conformers

#: kcal/mol in a kT of 1 K.
_KCAL = 0.0019872043
#: Conformers among which the lowest of vacuum is looked for.
_N_CONFORMERS = 100


def hydration(molecule: Molecule, options: Namespace) -> dict:
    """ΔG of solvent by BAR: −kT log of the ratio of the two partition functions, with its standard error.

    Half of the budget goes to vacuum, half to solvent. Reduced works are thinned to their effective sample size, since
    BAR's error holds for independent ones.
    """
    from pymbar.other_estimators import bar

    path = find_molecules(options.folder, f"^{molecule.name}$")[molecule.name]
    if not path.is_file():
        raise ValueError("a folder of a system has one solvent; give AMBER files")
    vacuum = read_molecule(molecule.name, path, "vacuum")
    kT = _KCAL * float(molecule.target.temperature._value)
    works, cost = [], 0
    for here, there, seed in ((vacuum, molecule, options.seed), (molecule, vacuum, options.seed + 1)):
        run = run_sampler(here, options.budget / 2, options.chains, seed)
        work = there.target.reduced_potential(run.wt.x) - run.wt.reduced_potential
        works.append(_independent(run.wt, work))
        cost += run.all_evaluations
    estimate = bar(*(work.numpy() for work in works))
    lowest = _lowest(vacuum, options.seed)
    single = float(molecule.target.reduced_potential(lowest) - vacuum.target.reduced_potential(lowest))
    return {
        "free energy": kT * float(estimate["Delta_f"]),
        "standard error": kT * float(estimate["dDelta_f"]),
        "single conformer": kT * single,
        "experiment": experiments(Path(options.folder)).get(molecule.name),
        "effective works": [len(work) for work in works],
        "evaluations": cost,
    }


def _independent(wt: WeightedTrajectory, work: torch.Tensor) -> torch.Tensor:
    """So many of the works as they are effective samples, evenly."""
    n = effective_sample_size(chains_as_array(work.numpy(), wt.chain, wt.draw))
    n = max(2, min(len(work), int(n)))
    return work[torch.linspace(0, len(work) - 1, n).long()]


def _lowest(vacuum: Molecule, seed: int) -> torch.Tensor:
    """(1, n_atoms, 3): the lowest minimum that the start and RDKit's conformers lead to."""
    levels = Levels(internal_target(vacuum))
    levels.label(torch.cat([vacuum.x[None], rdkit_conformers(vacuum.topology, vacuum.x, _N_CONFORMERS, seed)]))
    return levels.x[min(range(len(levels.u)), key=levels.u.__getitem__)][None]
