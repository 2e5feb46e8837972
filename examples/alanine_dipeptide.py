"""Alanine dipeptide from an OpenMM System to a free-energy surface.

python examples/alanine_dipeptide.py            # about a minute
python examples/alanine_dipeptide.py --short    # seconds, to see it run
"""

import sys

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import basin_populations, write_results

short = "--short" in sys.argv

# The molecule: 22 atoms, ff96 in implicit water, all bonds flexible, 300 K.
molecule = ods.load_system("alanine-dipeptide")

# What is sampled: u = E/kT, evaluated for many configurations at once and checked against OpenMM.
target = molecule.target()
print(target.backend, "-", target.backend_reason)

# Diffusive Gibbs sampling: noise on the torsions to cross barriers, Hamiltonian steps to relax everything else.
sampler = ods.DiffusiveGibbs(target, noise_scales=[0.01], step_size=0.0015, n_leapfrog=8, torsion_scale=1.5)
wt = sampler.sample(
    molecule.positions,
    n_draws=20 if short else 300,
    n_chains=16 if short else 128,
    n_warmup=20 if short else 100,
    thinning=2,
    seed=1,
)

print(wt.describe())
for row in sampler.statistics:
    print(row)

# What a chemist asks: how much of each conformer, with error bars.
for basin, (population, error) in basin_populations(wt).items():
    print(f"{basin:12} {population:.4f} ± {error:.4f}")

# Trajectory, weights, Ramachandran plot, diagnostics and a report in one folder.
for what, path in write_results(wt, "alanine-dipeptide-example", name="alanine dipeptide").items():
    print(f"{what:20} {path}")
