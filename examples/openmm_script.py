"""Diffusive Gibbs sampling in a plain OpenMM script: the integrator is the only line that is new.

python examples/openmm_script.py            # about a minute
python examples/openmm_script.py --short    # seconds, to see it run
"""

import sys

import mdtraj as md
import openmm
from openmm import app, unit

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import basin_populations, write_results

short = "--short" in sys.argv
n_sweeps, interval = (2_000, 20) if short else (60_000, 20)

# Topology, System and positions as from any PDB file and force field; no constraints (constraints=None).
molecule = ods.load_system("alanine-dipeptide-vacuum")

# One step is one sweep through two noise levels. The wide one gives the Hamiltonian trajectories room (a few hundredths
# of an ångström would hold them back); the narrow one is what guesses of a whole molecule are accepted at.
integrator = ods.DiffusiveGibbsIntegrator(
    300 * unit.kelvin, [0.02, 0.0005] * unit.nanometer, 1 * unit.femtosecond, n_leapfrog=10, seed=1
)
simulation = app.Simulation(
    molecule.topology, molecule.system, integrator, openmm.Platform.getPlatformByName("Reference")
)
simulation.context.setPositions(molecule.positions)
simulation.minimizeEnergy()
simulation.step(500)
integrator.reset_statistics()

# Reporters count sweeps. Kinetic energies are fresh draws at 300 K, so that temperatures are what they should be.
simulation.reporters.append(app.DCDReporter("openmm-script.dcd", interval))
simulation.reporters.append(
    app.StateDataReporter(
        sys.stdout, n_sweeps // 5, step=True, potentialEnergy=True, temperature=True, speed=False, remainingTime=True,
        totalSteps=n_sweeps + 500,
    )
)  # fmt: skip
simulation.step(n_sweeps)
simulation.reporters.clear()  # closes the trajectory

statistics = integrator.statistics()
print(f"{statistics['evaluations']:,} evaluations of energy and forces")
for level in statistics["levels"]:
    print(f"{level['level']}: guesses {level['guess acceptance']:.3f}, HMC {level['HMC acceptance']:.3f} accepted")

# From here on it is a trajectory like any other; all frames weigh the same.
frames = md.load("openmm-script.dcd", top=md.Topology.from_openmm(molecule.topology))
wt = ods.WeightedTrajectory.from_chains(
    frames.xyz[:, None].astype(float), topology=frames.topology, temperature=300 * unit.kelvin
)
for basin, (population, error) in basin_populations(wt).items():
    print(f"{basin:12} {population:.3f} ± {error:.3f}")
for what, path in write_results(wt, "openmm-script-results", name="alanine dipeptide in vacuum").items():
    print(f"{what:24} {path}")
