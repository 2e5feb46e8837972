"""Relative force errors of the closed forms against OpenMM's Reference platform, on thermal configurations.

    python benchmarks/force_accuracy.py

Langevin dynamics at 300 K from the start of each system (seed 1, four snapshots 60 steps of 0.5 fs apart), float64.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_diffsampler.targets.backends.openmm_backend import OpenMMBackend
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.translate import translate_system
from tests.targets.backends.test_torch_backend import thermal
from tests.targets.openmmtools_systems import SMALL, SOLVENTS, openmmtools_system, peptide


def systems():
    for solvent in SOLVENTS:
        system, _, positions = peptide(solvent)
        yield f"ACE-ALA₃-NME, amber14, {solvent}", system, positions
    for name in SMALL:
        yield (name, *openmmtools_system(name))


def main():
    print("| system | atoms | relative force error | energy error / kJ mol⁻¹ |\n|---|---|---|---|")
    for name, system, positions in systems():
        x = thermal(system, positions, n=4)
        exact = OpenMMBackend(system, platform="Reference", n_contexts=1).energy_and_forces(x)
        energy, forces = TorchBackend(translate_system(system)).energy_and_forces(x)
        error = (forces - exact[1]).flatten(1).norm(dim=1) / exact[1].flatten(1).norm(dim=1)
        print(f"| {name} | {len(positions)} | {error.max():.1e} | {(energy - exact[0]).abs().max():.1e} |", flush=True)


if __name__ == "__main__":
    main()
