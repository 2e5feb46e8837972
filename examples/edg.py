"""A decoder with forces inside, and a diffusion as its encoder, trained by one bound: EDG.

    python examples/edg.py            # a quarter of an hour on one core
    python examples/edg.py --short    # seconds, to see it run

The target is DW-4, four particles with a double well between each pair; any of `openmm-diffsampler systems` will do.
"""

import sys

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import write_results

short = "--short" in sys.argv
target = ods.load_system("dw4").target()

# One loss trains both halves, from energies and forces alone. Interrupted, the same script goes on.
small = {"batch_size": 32, "width": 8, "score_width": 8, "n_final_steps": 8, "n_pool": 128}
generator = ods.EDG(target, seed=0, **(small if short else {}))
generator.fit(5 if short else None, checkpoint="edg-short" if short else "edg-training", progress=not short)
generator.save("dw4-edg-short" if short else "dw4-edg")
print(generator.record)

# Samples with exact weights. The decoder makes them at 1/0.3 of the temperature, and trajectories cool them.
# The mean of the log-weights is a bound of log Z, below it by what decoder, encoder and cooling lack.
wt = generator.sample(50 if short else 5000, "path", seed=1)
print(f"log Z {wt.log_Z:.2f} ± {wt.log_Z_standard_error:.2f}, bound {float(wt.log_weights.mean()):.2f}")
print(f"ESS {wt.effective_sample_size:.1f} of {len(wt)}")

# More levels sharpen the encoder; more draws of it (`n_draws`) the density of a sample, which is averaged over them.
wt = generator.sample(50 if short else 5000, "path", seed=1, n_levels=20 if short else 60)
print(f"with more levels: ESS {wt.effective_sample_size:.1f} of {len(wt)}")

written = write_results(wt, "dw4-samples", name="dw4")
print(f"wrote {written['report']}")
