"""A trained Boltzmann generator of alanine dipeptide against an independent reference: JSON lines of results.

`--make-reference N` runs diffusive Gibbs sampling for N evaluations first, with a seed of its own, and keeps histogram,
populations and mean energy under references/. Histograms are compared on 16 × 16 bins over φ and ψ; `floor` is the
mean total variation of as many exact draws, bootstrapped from the reference: the noise of the samples without that of
the reference. KL is KL(reference ‖ samples) over 48 bins with half a count in each.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import torch

from openmm_diffsampler import InternalDiffusiveGibbs, load_system
from openmm_diffsampler.samplers import MissedModeWarning, load_pretrained, load_sampler

REFERENCES = Path(__file__).parent / "references"
#: Bins of the reference, a multiple of those compared.
FINE, COARSE = 48, 16
N_CHAINS, THINNING = 512, 2


def torsions(x, topology):
    """φ and ψ in radians, (n, 2), of positions in nm."""
    frames = mdtraj.Trajectory(np.asarray(x, dtype=np.float32), topology)
    both = [f(frames, periodic=False)[1][:, 0] for f in (mdtraj.compute_phi, mdtraj.compute_psi)]
    return np.stack(both, 1)


def histogram(angles, weights=None, bins=FINE):
    return np.histogram2d(*angles.T, bins, [(-np.pi, np.pi)] * 2, weights=weights)[0]


def path_of(name):
    return REFERENCES / f"{name}-fine.npz"


def make_reference(name, n_evaluations, seed):
    molecule = load_system(name)
    target = molecule.target()
    sampler = InternalDiffusiveGibbs(target, molecule.positions)
    counts, energies, positive = np.zeros((FINE, FINE)), [], []
    for k, state in enumerate(sampler.states(molecule.positions, n_chains=N_CHAINS, n_warmup=200, seed=seed)):
        if k % THINNING == 0:
            angles = torsions(sampler.target.to_cartesian(state.x), target.topology)
            counts += histogram(angles)
            energies.append(state.u + sampler.target.log_volume(state.x))
            positive.append(torch.as_tensor(angles[:, 0] > 0).double())
        if target.n_evaluations > n_evaluations:
            break
    means = [torch.stack(values).mean(0) for values in (energies, positive)]  # chain by chain, which are independent
    found = {"histogram": counts, "n_draws": counts.sum(), "seed": seed, "n_evaluations": target.n_evaluations}
    for what, chains in zip(("energy", "p_phi_positive"), means, strict=True):
        found |= {what: float(chains.mean()), f"{what}_se": float(chains.std() / len(chains) ** 0.5)}
    np.savez_compressed(path_of(name), **found)


def coarse(counts):
    n = FINE // COARSE
    return counts.reshape(COARSE, n, COARSE, n).sum((1, 3)) / counts.sum()


def divergence(reference, found):
    reference, found = reference / reference.sum(), (found + 0.5) / (found + 0.5).sum()
    seen = reference > 0
    return float((reference[seen] * np.log(reference[seen] / found[seen])).sum())


def floor_of(probabilities, n, seed=0, repeats=200):
    draws = np.random.default_rng(seed).multinomial(n, probabilities.ravel(), repeats) / n
    return float(0.5 * np.abs(draws - probabilities.ravel()).sum(1).mean())


def z_score(estimate, value, error):
    return float((estimate.value - value) / np.hypot(estimate.standard_error, error))


def evaluate(source, n, seed, weights="auto"):
    """Everything that the reference can tell about n samples."""
    folder = Path(source)
    sampler = load_sampler(folder) if (folder / "sampler.json").exists() else load_pretrained(source)
    name, before, start = sampler.target.name, sampler.target.n_evaluations, time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissedModeWarning)
        wt = sampler.sample(n, weights, seed=seed)
    seconds = time.perf_counter() - start
    found = {"sampler": str(source), "weights": weights, "n": n, "seed": seed, "seconds": round(seconds, 1)}
    found["evaluations of sampling"] = sampler.target.n_evaluations - before
    found |= {f"training {k}": sampler.record[k] for k in ("n_steps", "n_evaluations", "seconds")}
    normalised = wt.weights
    found |= {
        "ESS": round(wt.effective_sample_size / n, 5),
        "without the two largest weights": round(_without_largest(normalised, 2), 5),
        "largest weight / mean": round(float(normalised.max()) * n, 2),
        "log Z": [round(wt.log_Z, 5), round(wt.log_Z_standard_error, 5)],
    }
    if sampler.diagnostics is not None:
        d = sampler.diagnostics
        found |= {
            "forward ESS": round(d.forward_ess, 4),
            "EUBO - ELBO": d.gap if np.isfinite(d.gap) else None,
            "log Z forward": [round(d.log_Z_forward.value, 5), round(d.log_Z_forward.standard_error, 5)],
            "warning": d.warning,
        }
    if path_of(name).exists():
        with np.load(path_of(name)) as file:
            found |= against(dict(file), wt, torsions(wt.x, wt.topology), n)
    print(json.dumps(found), flush=True)
    return found


def _without_largest(weights, k):
    rest = weights.sort().values[:-k]
    return float(rest.sum() ** 2 / rest.square().sum()) / len(weights)


def against(reference, wt, angles, n):
    kept = np.isfinite(wt.reduced_potential.numpy())
    angles = np.where(kept[:, None], angles, 0.0)
    if not (angles[kept][:, 0] > 0).any():
        return {"P(phi>0)": [0.0, None]}
    positive = wt.expectation(torch.as_tensor(angles[:, 0] > 0).double() * torch.as_tensor(kept))
    energy = wt.expectation(torch.where(torch.as_tensor(kept), wt.reduced_potential, 0.0))
    p, error = reference["p_phi_positive"], reference["p_phi_positive_se"]
    # F(φ > 0) − F(φ < 0), in kT; its error by the delta method.
    difference = [float(np.log((1 - q) / q)) for q in (positive.value, p)]
    errors = [positive.standard_error / positive.value / (1 - positive.value), error / p / (1 - p)]
    exact = coarse(reference["histogram"])
    weighted = coarse(histogram(angles, wt.weights.numpy()))
    raw = histogram(angles[kept])
    return {
        "P(phi>0)": [round(positive.value, 6), round(positive.standard_error, 6)],
        "reference P(phi>0)": [round(float(p), 6), round(float(error), 6)],
        "z of P(phi>0)": round(z_score(positive, p, error), 2),
        "dF / kT": [round(difference[0], 4), round(errors[0], 4)],
        "z of dF": round((difference[0] - difference[1]) / float(np.hypot(*errors)), 2),
        "energy / kT": [round(energy.value, 4), round(energy.standard_error, 4)],
        "z of energy": round(z_score(energy, reference["energy"], reference["energy_se"]), 2),
        "TV reweighted": round(float(0.5 * np.abs(weighted - exact).sum()), 5),
        "TV floor": round(floor_of(exact, n), 5),
        "TV floor of the reference": round(floor_of(exact, int(reference["n_draws"])), 5),
        "KL phi, psi": [round(divergence(reference["histogram"].sum(1 - k), raw.sum(1 - k)), 6) for k in (0, 1)],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplers", nargs="*", help="folders of trained samplers, or systems that one comes with")
    parser.add_argument("-n", type=int, nargs="+", default=[100_000], help="samples")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--weights", nargs="+", default=["auto"])
    parser.add_argument("--make-reference", type=int, metavar="N", help="evaluations of a new reference")
    parser.add_argument("--reference-of", default="alanine-dipeptide", help="system of the new reference")
    options = parser.parse_args()
    if options.make_reference:
        make_reference(options.reference_of, options.make_reference, seed=987)
    for source in options.samplers:
        for n in options.n:
            for seed in options.seeds:
                for weights in options.weights:
                    evaluate(source, n, seed, weights)


if __name__ == "__main__":
    main()
