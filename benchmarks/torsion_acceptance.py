"""How often a torsion's noise is accepted, against the number of atoms that it sweeps, and what the levels do about it.

    python benchmarks/torsion_acceptance.py --system aspartame --seed 0

For each rotatable torsion: atoms on the smaller side of the bond; acceptance of a uniform angle; the narrow level's s
and acceptance, as warm-up adapted them; the best acceptance of learned guesses of a pair that the torsion is in, with
the gain ⟨accepted · Σ(1 − cos Δτ)⟩ that decides how often the pair is tried; and evaluations for an effective sample of
the torsion (the worse of cos and sin).
"""

import argparse

import numpy as np
import torch

from openmm_diffsampler import InternalDiffusiveGibbs, load_system
from openmm_diffsampler.analysis.diagnostics import effective_sample_size
from openmm_diffsampler.coordinates import BondRotations
from openmm_diffsampler.mcmc.torsion_kernels import LearnedTorsionKernel, TorsionNoiseKernel


def swept(topology):
    """(j, k) with j < k → atoms that turn."""
    rotations = BondRotations(topology)
    return {tuple(sorted(t[1:3])): int(m.sum()) for t, m in zip(rotations.torsions, rotations.moving, strict=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", default="aspartame")
    parser.add_argument("--chains", type=int, default=128)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    molecule = load_system(options.system)
    sampler = InternalDiffusiveGibbs(molecule.target(), molecule.positions, n_trials=8)
    wt = sampler.sample(
        molecule.positions, options.draws, n_chains=options.chains, n_warmup=200, thinning=2, seed=options.seed
    )
    evaluations = sum(row["evaluations"] for row in sampler.statistics)
    coordinates = sampler.target.coordinates
    z = coordinates.to_internal(wt.x).reshape(options.chains, options.draws, -1).numpy()
    learned = next(k for k in sampler.kernels if isinstance(k, LearnedTorsionKernel))
    noise = next(k for k in sampler.kernels if isinstance(k, TorsionNoiseKernel))
    pairs = learned.acceptance_by_block()
    atoms = [a.name for a in molecule.mdtraj_topology.atoms]
    beyond = swept(molecule.mdtraj_topology)
    print("| torsion | atoms | uniform | narrow s / rad | narrow | learned block | its share | evaluations / ESS |")
    print("|---" * 8 + "|")
    for (column,), (narrow, s, wide) in noise.acceptance_by_block().items():
        torsion = coordinates.rotatable_torsions[column]
        best = max((pairs[b] for b in pairs if column in b), key=lambda pair: pair[1], default=None)
        guesses = "– | –" if best is None else "{:.2f} | {:.2f}".format(*best)
        ess = min(effective_sample_size(f(z[:, :, column].T)) for f in (np.cos, np.sin))
        label = "-".join(atoms[i] for i in torsion)
        print(
            f"| {label} | {beyond[tuple(sorted(torsion[1:3]))]} | {wide:.3f} | {s:.2f} | {narrow:.2f} | {guesses} | "
            f"{evaluations / ess:.0f} |"
        )


if __name__ == "__main__":
    main()
