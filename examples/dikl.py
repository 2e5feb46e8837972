"""One network pass a sample: train a one-step generator on an energy by reverse diffusive KL, and weigh its samples.

    python examples/dikl.py            # ten minutes on one core
    python examples/dikl.py --short    # seconds, to see it run

The target is DW-4, four particles with a double well between each pair; any of `openmm-diffsampler systems` will do.
"""

import sys

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import write_results

short = "--short" in sys.argv
target = ods.load_system("dw4").target()

# Noised densities overlap where modes do not, and divergences between them see every mode. Interrupted, the same script
# goes on.
small = {"batch_size": 32, "width": 8, "score_width": 8, "path_width": 8, "encoder_width": 8, "n_final_steps": 8}
settings = small if short else {}
generator = ods.DiKL(target, seed=0, **settings)
generator.fit(5 if short else None, checkpoint="dikl-short" if short else "dikl-training", progress=not short)
generator.save("dw4-short" if short else "dw4-dikl")
print(generator.record)

# One pass each, and one pass followed by Hamiltonian steps on the true energy, which only bring samples nearer: twenty
# trajectories are the default.
for n in (0, 20):
    wt = generator.sample(1000, weights=None, seed=1, n_refine=n)
    print(f"mean energy after {n} trajectories: {float(wt.reduced_potential.mean()):.2f} kT")

# Exact weights: of a diffusion model fitted to refined samples, whose samples are its own, or of the pass itself.
found = {kind: generator.sample(50 if short else 1000, kind, seed=2) for kind in generator.weight_kinds}
for kind, wt in found.items():
    print(
        f"{kind}: log Z {wt.log_Z:.2f} ± {wt.log_Z_standard_error:.2f}, ESS {wt.effective_sample_size:.1f} of {len(wt)}"
    )

written = write_results(found["path"], "dw4-samples", name="dw4")
print(f"wrote {written['report']}")
