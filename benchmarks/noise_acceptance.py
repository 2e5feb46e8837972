"""What is accepted at which noise scale, inside OpenMM and in Cartesian coordinates.

    python benchmarks/noise_acceptance.py [--sweeps 4000]

For each s: the share of guesses and of trajectories (ten leapfrog steps) that are accepted, and the longest step of the
lightest particle, which is the timestep or half a radian of its tether.
"""

import argparse

import openmm
from openmm import unit

from openmm_diffsampler import DiffusiveGibbsIntegrator, load_system
from openmm_diffsampler.mcmc.sweep import STEP_ANGLE

#: System → timestep in fs and noise scales in nm.
CASES = {
    "alanine-dipeptide-vacuum": (1.0, (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02)),
    "lj13": (100.0, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)),
}


def acceptance(molecule, timestep, scale, n_sweeps):
    """Guess and HMC acceptance of one level, after equilibration."""
    options = {"n_leapfrog": 10, "seed": 1}
    levels = [10 * scale, scale]  # the wide level moves the configuration on
    integrator = DiffusiveGibbsIntegrator(molecule.temperature, levels, timestep * unit.femtosecond, **options)
    context = openmm.Context(molecule.system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(molecule.positions)
    integrator.step(n_sweeps // 4)
    integrator.reset_statistics()
    integrator.step(n_sweeps)
    row = integrator.statistics()["levels"][1]
    return row["guess acceptance"], row["HMC acceptance"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=4000)
    options = parser.parse_args()
    print("| system | timestep / fs | s / nm | guess | HMC | longest step / fs |\n|---|---|---|---|---|---|")
    for name, (timestep, scales) in CASES.items():
        molecule = load_system(name)
        kt = (unit.MOLAR_GAS_CONSTANT_R * molecule.temperature).value_in_unit(unit.kilojoule_per_mole)
        lightest = min(molecule.system.getParticleMass(i)._value for i in range(molecule.system.getNumParticles()))
        for scale in scales:
            guess, hmc = acceptance(molecule, timestep, scale, options.sweeps)
            step = min(timestep, 1000 * STEP_ANGLE * scale * (lightest / kt) ** 0.5)
            print(f"| {name} | {timestep:g} | {scale} | {guess:.3f} | {hmc:.3f} | {step:.2f} |", flush=True)


if __name__ == "__main__":
    main()
