"""Independent, weighted samples of your own molecule: train a Boltzmann generator on its energy, and use it.

    python examples/boltzmann_generator.py            # about half an hour on two cores
    python examples/boltzmann_generator.py --short    # seconds, to see it run; the weights are bad, and it says so

The molecule is alanine dipeptide in vacuum; `ods.load_system("./my-molecule")` takes a folder of yours, and
`openmm-diffsampler train ./my-molecule` does the same from the command line.
"""

import sys

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import basin_populations, write_results

short = "--short" in sys.argv

molecule = ods.load_system("alanine-dipeptide-vacuum")
target = molecule.target()
folder = "short" if short else molecule.name

# Markov chains explore; a density in bonds, angles and torsions is fitted to what they find and to its energies; its
# own samples, corrected by their weights, renew what it learns from. Interrupted, the same script goes on.
settings = {"n_exploration": 200_000, "n_chains": 64, "batch_size": 256, "width": 16} if short else {}
generator = ods.BoltzmannGenerator(target, seed=0, **settings)
generator.fit(30 if short else None, checkpoint=f"{folder}-training", progress=not short)
generator.save(f"{folder}-generator")
print(generator.record)

# Independent samples with exact weights, and what they are worth.
wt = generator.sample(1000 if short else 100_000, seed=1)
print(wt.describe())
print(f"log Z {wt.log_Z:.3f} ± {wt.log_Z_standard_error:.3f}")

# Weights of samples cannot tell of a state that the generator leaves out; those of held-out configurations can.
diagnostics = generator.diagnostics
print(f"effective sample size from held-out configurations: {diagnostics.forward_ess:.3f} per sample")
print(diagnostics.warning or "no state is left out")

for basin, (population, error) in basin_populations(wt).items():
    print(f"{basin:12} {population:.4f} ± {error:.4f}")

cost = {"training": (generator.record["n_evaluations"], generator.record["seconds"])}
written = write_results(wt, f"{folder}-samples", name=target.name, cost=cost, forward=diagnostics.as_dict())
for what, path in written.items():
    print(f"{what:24} {path}")
