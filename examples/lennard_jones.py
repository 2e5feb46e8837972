"""Independent, weighted samples of a Lennard-Jones cluster from its energy alone.

A diffusion sampler that was trained with no simulation data draws 13 particles in a harmonic trap; its weights make
averages exact. Train it yourself with `openmm-diffsampler train lj13`; see the end of this file for how in Python.

    python examples/lennard_jones.py            # a minute or two on two cores
    python examples/lennard_jones.py --short    # few samples, and a short training beside
"""

import sys

import mdtraj
import numpy as np

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import write_results

short = "--short" in sys.argv
n = 64 if short else 2000

# The sampler that comes with the system. Every sample is independent of the others and has a weight.
sampler = ods.load_pretrained("lj13")
wt = sampler.sample(n, weights="path", seed=1, progress=not short)
print(wt.describe())
print(f"log Z = {wt.log_Z:.3f} ± {wt.log_Z_standard_error:.3f}")

# Averages use the weights; each comes with its standard error.
energy, error = wt.expectation(wt.reduced_potential)
print(f"mean energy {energy:.2f} ± {error:.2f} kT")

# Any mdtraj analysis: here the radius of gyration and the distances between particles (1 nm is one reduced length).
frames = wt.trajectory
radius, error = wt.expectation(mdtraj.compute_rg(frames))
print(f"radius of gyration {radius:.3f} ± {error:.3f}")
pairs = frames.topology.select_pairs("all", "all")
distances = mdtraj.compute_distances(frames, pairs)
contacts, error = wt.expectation((distances < 1.3).sum(1))
print(f"contacts below 1.3: {contacts:.2f} ± {error:.2f} of {len(pairs)} pairs")
by_pair = np.broadcast_to(wt.weights.numpy()[:, None], distances.shape)
density, edges = np.histogram(distances, bins=20, range=(0.8, 2.8), weights=by_pair)
print(f"most frequent distance {edges[density.argmax()]:.2f} to {edges[density.argmax() + 1]:.2f}")

# Tools that know no weights take equally weighted frames.
wt.resample(n).trajectory.save("lj13-resampled.dcd")

# Frames, weights, figures and the report.
written = write_results(wt, "lj13-samples", name="lj13")
print(f"wrote {written['report']}")

# Training from the energy alone. The folder holds checkpoints, metrics.csv and TensorBoard events; killed and started
# again, it goes on where it was. All steps take about an hour on two cores.
if short:
    mine = ods.IDEM(ods.load_system("lj13").target(), buffer_size=256, batch_size=32, n_levels=20, seed=1)
    mine.fit(20, checkpoint="lj13-training")
    mine.save("lj13-mine")
    print(ods.IDEM.load("lj13-mine").sample(16).describe())
