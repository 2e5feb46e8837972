"""Alanine dipeptide from an OpenMM System to a free-energy surface.

python examples/alanine_dipeptide.py            # about a minute
python examples/alanine_dipeptide.py --short    # seconds, to see it run
"""

import sys

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import basin_populations, torsion_convergence, write_results

short = "--short" in sys.argv

# The molecule: 22 atoms, ff96 in implicit water, all bonds flexible, 300 K.
molecule = ods.load_system("alanine-dipeptide")

# What is sampled: u = E/kT, evaluated for many configurations at once and checked against OpenMM.
target = molecule.target()
print(target.backend, "-", target.backend_reason)

# Diffusive Gibbs sampling in bonds, angles and torsions: noise on the torsions crosses barriers, Hamiltonian steps move
# everything else. The coordinates are found from the topology, their thermal widths are measured here.
sampler = ods.InternalDiffusiveGibbs(target, molecule.positions)
wt = sampler.sample(
    molecule.positions,
    n_draws=20 if short else 300,
    n_chains=16 if short else 128,
    n_warmup=20 if short else 100,
    thinning=3,
    seed=1,
)

print(wt.describe())
for row in sampler.statistics:
    print(row)

# Has every torsion converged?
for row in torsion_convergence(wt):
    print(f"{row.torsion.name:40} R-hat {row.r_hat:.3f}  ESS {row.effective_sample_size:8,.0f}  {row.verdict}")

# What a chemist asks: how much of each conformer, with error bars.
for basin, (population, error) in basin_populations(wt).items():
    print(f"{basin:12} {population:.4f} ± {error:.4f}")

# Trajectory, weights, Ramachandran plot, diagnostics and a report in one folder.
for what, path in write_results(wt, "alanine-dipeptide-example", name="alanine dipeptide").items():
    print(f"{what:24} {path}")
