"""iDEM on alanine dipeptide in internal coordinates, as published and as this package trains it: JSON lines of results.

Trains for `--steps`, or for as many as fit into `--minutes` by a short trial. Beside the weighted results (effective
sample size, P(0 < φ < 130°) with its standard error, mean energy) stands how far φ and ψ of samples without weights are
from the reference: KL(reference ‖ samples) in nats over 24 bins, with half a count in each bin; `floor` is what as many
exact draws score in the mean, (bins − 1)/2n.

What samples cannot tell, a basin that they leave out, noised paths of the buffer can, which is in equilibrium: the mean
of ln w − ln Z there is the divergence of the sampler from the target, and in a basin that it neglects by a factor f it
is larger by ln f.
"""

import argparse
import json
import time

import mdtraj
import numpy as np
import torch
from mcmc_torsions import BINS, REFERENCES

from openmm_diffsampler import IDEM, InternalDiffusiveGibbs, load_system
from openmm_diffsampler.diffusion import path_log_weights

NAME = "alanine-dipeptide"
#: Steps of a trial, at most.
TRIAL = 100
#: Configurations of the buffer that are noised, at most, of each side of φ.
NOISED = 400


def show(preset, **found):
    print(json.dumps({"preset": preset} | found), flush=True)


def angles(trajectory):
    """φ and ψ in degrees, (n_frames,) each."""
    return [np.degrees(f(trajectory, periodic=False)[1][:, 0]) for f in (mdtraj.compute_phi, mdtraj.compute_psi)]


def is_rare(phi):
    return (phi > 0) & (phi < 130)


def divergence(reference, degrees):
    """KL(reference ‖ samples) of a histogram from −180°."""
    counts = np.histogram(degrees, BINS, (-180.0, 180.0))[0] + 0.5
    p = reference / reference.sum()
    return float((p[p > 0] * np.log(p[p > 0] / (counts / counts.sum())[p > 0])).sum())


def steps_in(minutes, target, preset, seed):
    """How many training steps take that long."""
    sampler = IDEM(target, preset, seed=seed, n_exploration=500_000)
    n = min(TRIAL, sampler.settings.refresh_every)
    stamps, after_step = [], sampler._after_step

    def stamped(run):
        metrics = after_step(run)
        stamps.append(time.perf_counter())
        return metrics

    sampler._after_step = stamped  # so that the exploration does not count
    sampler.fit(n)
    return max(1, round(minutes * 60 * (n - 1) / (stamps[-1] - stamps[0])))


def benchmark(preset, options):
    molecule = load_system(NAME)
    cartesian = molecule.target()
    target = InternalDiffusiveGibbs(cartesian, molecule.positions, basin_jumps=False, starts="positions").target
    n_steps = options.steps or steps_in(options.minutes, target, preset, options.seed)
    changes = {} if options.exploration is None else {"n_exploration": options.exploration}
    sampler = IDEM(target, preset, seed=options.seed, **changes)
    sampler.fit(n_steps, metrics=options.metrics, progress=options.progress)
    if options.save:
        sampler.save(f"{options.save}/{preset}")
    show(preset, result="training", **sampler.record)

    kept = np.load(REFERENCES / f"{NAME}.npz")
    joint = kept["histogram"][0]
    start = time.perf_counter()
    raw = sampler.sample(options.samples, None, seed=options.seed + 1)
    finite = raw.reduced_potential.isfinite()
    found = {
        f"KL {name}": divergence(reference, degrees)
        for name, reference, degrees in zip(
            ("phi", "psi"), (joint.sum(1), joint.sum(0)), angles(raw.trajectory), strict=True
        )
    }
    energies = raw.reduced_potential[finite]
    show(
        preset,
        result="raw samples",
        n=len(raw),
        seconds=round(time.perf_counter() - start, 1),
        valid=float(finite.double().mean()),
        floor=(BINS - 1) / (2 * len(raw)),
        **found,
        **{"median energy": float(energies.median()) if len(energies) else None},
    )
    start, before = time.perf_counter(), cartesian.n_evaluations
    try:
        wt = sampler.sample(options.samples, "path", seed=options.seed + 2)
    except RuntimeError as error:  # no sample of finite energy
        return show(preset, result="weighted samples", n=options.samples, ESS=0.0, problem=str(error))
    seconds, evaluations = time.perf_counter() - start, cartesian.n_evaluations - before
    share = wt.expectation(is_rare(angles(wt.trajectory)[0]).astype(float))
    energy = wt.expectation(torch.where(wt.reduced_potential.isfinite(), wt.reduced_potential, 0.0))
    show(
        preset,
        result="weighted samples",
        n=len(wt),
        seconds=round(seconds, 1),
        evaluations=evaluations,
        ESS=float(wt.effective_sample_size),
        **{
            "ESS/n": float(wt.effective_sample_size) / len(wt),
            "largest weight": float(wt.weights.max()),
            "P(0<phi<130)": [float(share.value), float(share.standard_error)],
            "reference P": [float(kept["p_phi_positive"]), float(kept["p_phi_positive_se"])],
            "energy": [float(energy.value), float(energy.standard_error)],
            "log Z": [float(wt.log_Z), float(wt.log_Z_standard_error)],
        },
    )
    if sampler.settings.initial == "explored":
        show_noised(preset, sampler, wt.log_Z, options.seed + 3)


@torch.no_grad()
def show_noised(preset, sampler, log_z, seed):
    """Log-weights of noised paths of the buffer, for the rare side of φ and the other one."""
    target, x = sampler.target, sampler.buffer.x
    frames, _ = target.frames(x, torch.zeros(len(x), dtype=x.dtype))
    rare = is_rare(angles(mdtraj.Trajectory(frames.numpy(), target.frames_of.topology))[0])
    times, options = sampler._steps(sampler.settings.n_levels)
    generator = torch.Generator().manual_seed(seed)
    for name, chosen in (("rare", rare), ("other", ~rare)):
        rows = np.flatnonzero(chosen)[:NOISED]
        if len(rows):
            found = path_log_weights(
                target, sampler._score(sampler.average), sampler.schedule, x[rows], times, generator, **options
            )
            away = found - log_z
            mean, error = float(away.mean()), float(away.std()) / len(rows) ** 0.5
            numbers = {"n": len(rows), "share of the buffer": float(chosen.mean()), "ln w - ln Z": [mean, error]}
            show(preset, result=f"noised paths, {name}", **numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["default", "paper"])
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int, help="training steps")
    length.add_argument("--minutes", type=float, help="of training, exploration left out")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--exploration", type=int, help="evaluations of preset default")
    parser.add_argument("--save", help="folder of the trained samplers")
    parser.add_argument("--metrics", help="folder of the training's metrics")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress", action="store_true")
    options = parser.parse_args()
    for preset in options.presets:
        benchmark(preset, options)


if __name__ == "__main__":
    main()
