"""A molecule of your own: here n-butane, built in a script, saved as a folder, sampled like the built-in ones.

    python examples/own_molecule.py            # about a minute
    python examples/own_molecule.py --short    # seconds, to see it run

Replace `build()` by whatever makes your System, for example openmm.app's ForceField.createSystem or an Amber prmtop.
"""

import sys

import numpy as np
import openmm
from openmm import app, unit

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import torsion_angles, write_results

short = "--short" in sys.argv


def build():
    """United-atom butane (TraPPE): four beads, harmonic bonds and angles, one torsion."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("BUT", topology.addChain())
    atoms = [topology.addAtom(f"C{i + 1}", app.element.carbon, residue) for i in range(4)]
    for mass in (15.035, 14.027, 14.027, 15.035):
        system.addParticle(mass)
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.RBTorsionForce()
    for i in range(3):
        topology.addBond(atoms[i], atoms[i + 1])
        bonds.addBond(i, i + 1, 0.154, 2.0e5)
    for i in range(2):
        angles.addAngle(i, i + 1, i + 2, np.radians(114), 519.6)
    torsions.addTorsion(0, 1, 2, 3, 8.397, -16.786, 1.134, 26.31, 0.0, 0.0)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    positions = [[0, 0, 0], [0.154, 0, 0], [0.217, 0.141, 0], [0.371, 0.141, 0]] * unit.nanometer
    return system, topology, positions


# A folder with topology.pdb, system.xml and system.yaml: `openmm-diffsampler run ./butane` takes it as well.
system, topology, positions = build()
ods.save_system(
    "butane", system, topology, positions, 300 * unit.kelvin, description="united-atom n-butane", overwrite=True
)
molecule = ods.load_system("./butane")

target = molecule.target()
sampler = ods.InternalDiffusiveGibbs(target, positions)
wt = sampler.sample(positions, n_draws=50 if short else 500, n_chains=64, n_warmup=100, thinning=2, seed=1)
print(wt.describe())

angle = np.abs(torsion_angles(wt, (0, 1, 2, 3)))
for name, inside in (("trans", angle > 120), ("gauche", (angle > 30) & (angle < 120))):
    share, error = wt.expectation(inside.astype(float))
    print(f"{name:8} {share:.3f} ± {error:.3f}")

for what, path in write_results(wt, "butane-results", name="butane").items():
    print(f"{what:24} {path}")
