"""DiKL on GMM-40, MW-32, DW-4, LJ-13 and alanine dipeptide: samples of one pass, refined, and reweighted; Markdown.

    python benchmarks/dikl.py dw4 --sampler FOLDER --reference REFERENCE.npy --published SAMPLES.npy

Loads weights that come with a system, those of `--sampler`, or trains afresh (`--train`, `--steps`). Reference samples
are exact for GMM-40 and MW-32; for the particle systems as in benchmarks/idem.py, or a file. Beside every total
variation stands its floor: what as many draws of the reference score. `--published` puts samples of others into the
same table, by the same code. `1 pass + n` is one pass and n Hamiltonian trajectories on the true energy; `untrained
+ n` is n trajectories from a Gaussian of the generator's scale, the first half of them with steps that grow from a
tenth: what trajectories do by themselves. Samples with u ≥ 1,000 are left out of energies, and counted.
"""

import argparse
import time
import warnings
from types import SimpleNamespace

import mdtraj
import numpy as np
import torch
from boltzmann import divergence, path_of
from idem import reference, row, timed

from openmm_diffsampler import DiKL, load_system
from openmm_diffsampler.analysis import bootstrap_floor, distance_total_variation, energy_distances
from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.samplers import MissedModeWarning

warnings.simplefilter("ignore", MissedModeWarning)
#: Samples of encoder weights, which are dear, at most.
MOST_ENCODED = 1000
#: Trajectories after the pass.
REFINED = (0, 5, 20, 80)


def weighted_kinds(sampler, options):
    """(name, trajectory or None, seconds) of each kind of weights."""
    for kind in sampler.weight_kinds:
        n = options.weighted if kind == "path" else min(options.weighted, MOST_ENCODED)
        try:
            yield kind, *timed(lambda kind=kind, n=n: sampler.sample(n, kind, seed=options.seed + 5))
        except RuntimeError as error:  # no sample has a weight
            print(f"\n{kind}: {error}")


def show_log_z(sampler, options):
    exact = sampler.target.log_Z
    print()
    row("weights", "samples", "ESS", "log Z", "exact", "z", "seconds")
    row(*["---"] * 7)
    kept = {}
    for kind, wt, seconds in weighted_kinds(sampler, options):
        z = "" if exact is None else f"{(wt.log_Z - exact) / wt.log_Z_standard_error:.2f}"
        known = "" if exact is None else f"{exact:.3f}"
        log_z = f"{wt.log_Z:.3f} ± {wt.log_Z_standard_error:.3f}"
        row(kind, f"{len(wt):,}", f"{wt.effective_sample_size / len(wt):.3f}", log_z, known, z, f"{seconds:.1f}")
        kept[kind] = wt
    return kept


def untrained(sampler, n, n_trajectories, seed):
    """Samples of trajectories alone."""
    target, generator = sampler.target, torch.Generator().manual_seed(seed)
    state = evaluate(target, sampler.settings.scale * target.normal(n, generator))
    for k in range(n_trajectories):
        step_size = sampler.sampling.step_size * min(1, 0.1 + 1.8 * k / n_trajectories)
        state, _ = hamiltonian_step(target, state, step_size, sampler.settings.n_refine_leapfrog, generator)
    return SimpleNamespace(x=state.x, reduced_potential=state.u, weights=torch.full((n,), 1 / n))


def refined(sampler, n, options):
    """(name, samples, seconds) after some numbers of trajectories."""
    for k in REFINED:
        wt, seconds = timed(lambda k=k: sampler.sample(n, None, seed=options.seed + 1, n_refine=k))
        yield "1 pass" + (f" + {k}" if k else ""), wt, seconds
    if sampler.target.periods is None:  # molecules start from chains of their own
        for k in REFINED[2:]:
            found, seconds = timed(lambda k=k: untrained(sampler, n, k, options.seed + 1))
            yield f"untrained + {k}", found, seconds


def show_mixture(sampler, options):
    target = sampler.target
    row("samples", "modes", "mode-weight TV", "floor", "mean energy", "exact", "seconds")
    row(*["---"] * 7)
    exact = target.sample(options.samples, torch.Generator().manual_seed(0))
    exact_energy = float(target.reduced_potential(exact).mean())
    even = np.full(40, 1 / 40)
    draws = np.random.default_rng(0).multinomial(options.samples, even, 100) / options.samples
    floor = float(0.5 * np.abs(draws - even).sum(1).mean())
    for name, wt, seconds in refined(sampler, options.samples, options):
        share = torch.bincount(target.mode(wt.x), minlength=40) / len(wt.x)
        tv = 0.5 * float((share - 1 / 40).abs().sum())
        means = f"{float(wt.reduced_potential.mean()):.3f}", f"{exact_energy:.3f}"
        row(name, int((share > 0).sum()), f"{tv:.4f}", f"{floor:.4f}", *means, f"{seconds:.1f}")
    show_log_z(sampler, options)


def show_wells(sampler, options):
    target = sampler.target
    exact = target.sample(options.samples, torch.Generator().manual_seed(0))
    right, exact_energy = (exact[:, 0::2] > 0).double().mean(), float(target.reduced_potential(exact).mean())

    def header():
        row("samples", "mean occupation of x > 0", "exact", "largest error of 16", "mean energy", "exact", "seconds")
        row(*["---"] * 7)

    def show(name, wt, seconds):
        share = wt.weights.to(wt.x) @ (wt.x[:, 0::2] > 0).to(wt.x)
        u = torch.where(wt.weights > 0, wt.reduced_potential, 0.0).double()
        largest, mean = float((share - right).abs().max()), float(wt.weights.double() @ u)
        figures = f"{float(share.mean()):.4f}", f"{float(right):.4f}", f"{largest:.4f}"
        row(name, *figures, f"{mean:.2f}", f"{exact_energy:.2f}", seconds)

    header()
    for name, wt, seconds in refined(sampler, options.samples, options):
        show(name, wt, f"{seconds:.1f}")
    kept = show_log_z(sampler, options)
    print()
    header()
    for kind, wt in kept.items():
        show(f"reweighted ({kind})", wt, "")


def show_particles(sampler, options):
    target, n = sampler.target, options.samples
    exact = reference(target, options.reference, max(2 * n, 20_000), options.seed + 1000)
    u_exact = target.reduced_potential(exact)
    row("samples", "count", "energy TV", "energy W1", "energy W2", "distance TV", "u ≥ 1,000", "seconds")
    row(*["---"] * 8)
    half = min(n, len(exact) // 2)
    floor = bootstrap_floor(energy_distances, u_exact, half).mean
    between = bootstrap_floor(distance_total_variation, exact, half).mean
    figures = f"{floor.total_variation:.4f}", f"{floor.w1:.3f}", f"{floor.w2:.3f}", f"{between:.4f}"
    row("floor", f"{half:,}", *figures, "", "")

    def show(name, x, u, seconds, weights=None):
        valid = u < 1e3
        w = None if weights is None else weights[valid]
        e = energy_distances(u[valid], u_exact, weights=w)
        tv = distance_total_variation(x, exact, weights=weights)
        found = f"{e.total_variation:.4f}", f"{e.w1:.3f}", f"{e.w2:.3f}", f"{tv:.4f}"
        row(name, f"{len(x):,}", *found, int((~valid).sum()), seconds)

    for name, wt, seconds in refined(sampler, n, options):
        show(name, wt.x, wt.reduced_potential, f"{seconds:.1f}")
    if options.published:
        x = torch.as_tensor(np.load(options.published), dtype=target.dtype).reshape(-1, *target.event_shape)
        show("published DiKL", x, target.reduced_potential(x), "")
    for kind, wt in show_log_z(sampler, options).items():
        if kind == sampler.weight_kinds[0]:
            print()
            show(f"reweighted ({kind})", wt.x, wt.reduced_potential, "", wt.weights)


def show_molecule(sampler, options):
    kept = np.load(path_of(sampler.target.name))["histogram"]
    row("samples", "KL φ", "KL ψ", "P(φ > 0)", "reference", "median energy", "seconds")
    row(*["---"] * 7)
    bins = np.linspace(-np.pi, np.pi, len(kept) + 1)
    right = kept[bins[:-1] >= 0].sum() / kept.sum()
    for name, wt, seconds in refined(sampler, options.samples, options):
        angles = [f(wt.trajectory, periodic=False)[1][:, 0] for f in (mdtraj.compute_phi, mdtraj.compute_psi)]
        counts = [np.histogram(a, bins)[0] for a in angles]
        found = [f"{divergence(kept.sum(1 - k), c):.4f}" for k, c in enumerate(counts)]
        share = f"{(angles[0] > 0).mean():.4f}", f"{right:.4f}"
        row(name, *found, *share, f"{float(wt.reduced_potential.median()):.2f}", f"{seconds:.1f}")
    show_log_z(sampler, options)


SHOWN = {"gmm40": show_mixture, "mw32": show_wells, "dw4": show_particles, "lj13": show_particles}


def benchmark(name, options):
    target = load_system(name).target()
    if options.train:
        sampler = DiKL(target, options.preset, seed=options.seed).fit(options.steps, progress=True)
    else:
        sampler = DiKL.load(options.sampler, target) if options.sampler else DiKL.pretrained(name)
    record = sampler.record
    print(f"\n## {name}, preset {sampler.preset}, training seed {sampler.seed}, sampling seed {options.seed}\n")
    weights = sum(p.numel() for p in sampler.model.parameters())
    print(
        f"trained in {record['n_steps']:,} steps, {record['n_evaluations']:,} evaluations, "
        f"{record['seconds'] / 60:,.0f} min on {record['threads']} threads; {weights:,} weights in the generator"
    )
    sampler.sample(10, None, n_refine=0)
    start = time.perf_counter()
    sampler.sample(1000, None, seed=options.seed, n_refine=0)
    print(f"1,000 samples of one pass: {time.perf_counter() - start:.2f} s\n")
    SHOWN.get(name, show_molecule)(sampler, options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", help="gmm40, mw32, dw4, lj13, alanine-dipeptide")
    parser.add_argument("--train", action="store_true", help="train afresh instead of loading weights")
    parser.add_argument("--preset", default="default", help="of a fresh training")
    parser.add_argument("--steps", type=int, help="of a fresh training")
    parser.add_argument("--sampler", help="folder of a trained sampler, for a single system")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--weighted", type=int, default=2000, help="samples with weights")
    parser.add_argument("--reference", help=".npy file of reference samples, for a single particle system")
    parser.add_argument("--published", help=".npy file of samples to compare with, for a single particle system")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.systems:
        benchmark(name, options)


if __name__ == "__main__":
    main()
