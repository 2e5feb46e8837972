"""What a chemist does with weighted samples: averages, populations and free energies, each with its error bar.

    openmm-diffsampler sample alanine-dipeptide                                     # makes the samples
    python examples/analyse_weighted.py                                             # seconds
    python examples/analyse_weighted.py my-samples/trajectory.dcd my-analysis       # other samples, another folder

Figures, a table of the numbers and weights for PLUMED go into the folder.
"""

import csv
import sys
from itertools import pairwise
from pathlib import Path

import mdtraj as md
import numpy as np
from matplotlib.figure import Figure
from openmm import unit

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import plot_free_energy_surface, population, torsion_angles

path = Path(sys.argv[1] if len(sys.argv) > 1 else "alanine-dipeptide-samples/trajectory.dcd")
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "alanine-dipeptide-analysis")
folder.mkdir(parents=True, exist_ok=True)

# Frames and weights come together, and slice together: never average over wt.trajectory without the weights.
wt = ods.WeightedTrajectory.load(path)
trajectory = wt.trajectory
print(wt.describe())
results = []  # rows (quantity, value, standard error, unit)

# Ramachandran plot, -kT ln p(phi, psi), with the standard error of every bin beside it.
surface = wt.free_energy_surface("phi", "psi", bins=60)
plot_free_energy_surface(surface, folder / "ramachandran.png", name="weighted samples", errors=True)

# Scalar coupling 3J(HN-HA), which NMR measures as an average over conformers: Karplus equation, then weighted mean.
_, couplings = md.compute_J3_HN_HA(trajectory, model="Bax2007")
value, error = wt.expectation(couplings[:, 0])
results.append(("3J(HN-HA)", value, error, "Hz"))

# The hydrogen bond of C7eq, from O of the acetyl to H of the methylamide: its mean length, and how often it is closed.
atoms = trajectory.topology
oxygen = atoms.select("resname ACE and name O")[0]
hydrogen = atoms.select("resname NME and name H")[0]
distance = md.compute_distances(trajectory, [[oxygen, hydrogen]], periodic=False)[:, 0].astype(float)
value, error = wt.expectation(distance)
results.append(("distance O...H", value, error, "nm"))
value, error = population(wt, distance < 0.25)
results.append(("population with O...H below 0.25 nm", value, error, ""))

# A histogram needs the weights as well; its error bars are those of the population of each bin.
edges = np.linspace(0.15, 0.75, 41)
bins = [wt.expectation((low <= distance) & (distance < high)) for low, high in pairwise(edges)]
density = np.array([value for value, _ in bins]) / np.diff(edges)
density_error = np.array([error for _, error in bins]) / np.diff(edges)
figure = Figure(figsize=(5, 3.4), layout="constrained")
axes = figure.add_subplot()
axes.stairs(density, edges, color="#2b6cb0", fill=True, alpha=0.5)
axes.errorbar((edges[:-1] + edges[1:]) / 2, density, yerr=density_error, fmt="none", color="#1c2733", lw=1)
axes.set(xlabel="distance O…H / nm", ylabel="density / nm⁻¹", ylim=(0, None))
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(folder / "hydrogen_bond.png", dpi=150)

# Population of phi > 0, and what it costs to be there: dF = -kT ln(p/(1-p)), whose error is kT SE(p)/(p(1-p)).
thermal = (unit.MOLAR_GAS_CONSTANT_R * wt.temperature).value_in_unit(unit.kilojoule_per_mole)
p, error = population(wt, torsion_angles(wt, "phi") > 0)
results.append(("population of phi > 0", p, error, ""))
if 0 < p < 1:
    results.append(
        ("free energy of phi > 0", -thermal * np.log(p / (1 - p)), thermal * error / (p * (1 - p)), "kJ/mol")
    )

# Weights exp(-u)/q also give the configurational integral, which chains do not: F = -kT log Z, lengths in nm.
if len(wt.log_weights.unique()) > 1:
    results.append(("absolute free energy -kT log Z", -thermal * wt.log_Z, thermal * wt.log_Z_standard_error, "kJ/mol"))

for quantity, value, error, of in results:
    print(f"{quantity:40} {value:10.4f} ± {error:.4f} {of}")
with open(folder / "results.csv", "w", newline="") as file:
    csv.writer(file).writerows([("quantity", "value", "standard error", "unit"), *results])

# The same frames for PLUMED: a COLVAR file with kT log w; WeightedTrajectory.save says which lines read it.
for written in wt.save(folder / "samples.dcd", plumed=True):
    print(written)
