"""Force and energy errors of the closed forms, in torch and compiled, against OpenMM's Reference platform.

    python benchmarks/force_accuracy.py [--states 4] [--steps 60] [--seed 1] [--large]

Langevin dynamics at 300 K from the start of each system gives the configurations, `steps` of 0.5 fs apart. Prints a
Markdown table of the worst configuration, in float64.
"""

import argparse
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_diffsampler.targets.backends.kernel import KernelBackend, KernelTooLargeError
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.translate import translate_system
from tests.targets.openmmtools_systems import LARGE, SMALL, SOLVENTS, openmmtools_system, peptide
from tests.targets.reference import force_error, reference, thermal


def systems(large):
    """(label, System, positions, whether it is large)."""
    for solvent in SOLVENTS:
        system, _, positions = peptide(solvent)
        yield f"ACE-ALA₃-NME, amber14, {solvent}", system, positions, False
    for name in SMALL:
        yield (name, *openmmtools_system(name), False)
    for name in LARGE if large else ():
        yield (name, *openmmtools_system(name), True)


def n_terms(table):
    """Bonds, angles, torsions, maps, single atoms and pairs; a generalised Born force counts all pairs once."""
    pairs = table.n_atoms * (table.n_atoms - 1) // 2
    return sum(len(term.atoms) if hasattr(term, "atoms") else pairs for term in table.terms)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=4, help="configurations of each system")
    parser.add_argument("--steps", type=int, default=60, help="steps of 0.5 fs between them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="LysozymeImplicit and SrcImplicit too: one state, 10 GB")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", "Non-optimal GB parameters")
    columns = ("system", "atoms", "terms", "torch: force", "energy / kJ mol⁻¹", "kernel: force", "energy / kJ mol⁻¹")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, system, positions, large in systems(options.large):
        n, steps = (1, min(options.steps, 10)) if large else (options.states, options.steps)
        platform = "Reference" if len(positions) < 100 else "CPU"  # which is the faster one for dynamics
        x = thermal(system, positions, n=n, steps=steps, seed=options.seed, platform=platform)
        table = translate_system(system)
        exact_energy, exact_forces = reference(system).energy_and_forces(x)
        cells = [name, f"{len(positions):,}", f"{n_terms(table):,}"]
        for backend in (TorchBackend, KernelBackend):
            try:
                energy, forces = backend(table).energy_and_forces(x)
            except KernelTooLargeError:
                cells += ["too large", ""]
            else:
                off = (energy - exact_energy).abs().max()
                cells += [f"{force_error(forces, exact_forces):.1e}", f"{off:.1e}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
