"""What iDEM's independent samples cost beside Markov chains, at equal energy evaluations and at equal wall time.

    python benchmarks/idem_vs_mcmc.py [--systems dw4 lj13] [--samples 4000] [--reference dw4.npy lj13.npy]
    python benchmarks/idem_vs_mcmc.py --weights FOLDER [FOLDER ...]

Compared are iDEM with its path weights; HMC in one chain, which wastes the fewest evaluations on warm-up, and in many
side by side, which is fastest; and a chain of Pyro's No-U-Turn sampler (``pip install pyro-ppl``; left out where it is
missing), in an orthonormal basis of the configurations whose centroid is zero. In warm-up HMC adapts its step size,
NUTS that and a diagonal mass matrix. Chains start from the system's own configuration, or (DW-4) from a Gaussian.

The first table: how good the samples are, and their rate after warm-up or training. An ESS is Kish's of the weights,
for chains that by autocorrelation, of the energy and of the slower of energy and radius of gyration. "σ off": how far
the mean energy is from the reference's, in standard errors of the difference. Energy W1 and total variation of
distances are of as many frames as iDEM drew, evenly spaced in chains, since histograms get better with their count; the
first row is the reference against itself. The reference is yours, or a long HMC run with another seed.

The second table: what a budget that iDEM spent, on sampling alone or with its training, buys in effective samples,
energy / slowest. For chains that is rate × (budget − warm-up) with the rate of the first table, from a run that ends at
``--max-evaluations`` or ``--max-seconds`` after warm-up; no budget is run itself. Last, from how many effective samples
on iDEM costs less, training included. Its seconds are as recorded with the weights, perhaps on another machine.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
import torch

from openmm_diffsampler import HMC, IDEM, WeightedTrajectory, load_system
from openmm_diffsampler.analysis import bootstrap_floor, distance_total_variation, energy_distances
from openmm_diffsampler.mcmc.state import initial_state

#: Chains of the HMC runs. The last one also makes a reference: draws of a chain, and sweeps between them.
CHAINS, REFERENCE_DRAWS, REFERENCE_THINNING = (1, 256), 80, 20
#: Leapfrog steps of a trajectory: the best of 5, 10, 20 and 40 (10 to 80 for LJ-13) for the slowest ESS an evaluation.
N_LEAPFROG = {"dw4": 10, "lj13": 20}

COLUMNS = ("sampler", "frames", "evaluations", "seconds", "mean energy", "σ off", "ESS, energy / slowest", "ESS/s")
COLUMNS += ("ESS / 10⁶ evaluations", "energy W1", "distance TV")


class Run(NamedTuple):
    """Samples with what they cost, and what training or warm-up cost before them."""

    wt: WeightedTrajectory
    evaluations: int
    seconds: float
    before_evaluations: int
    before_seconds: float

    @property
    def ess(self):
        """Of the energy, and of the slowest observable."""
        found = self.wt.ess_by_observable
        return np.array([found.get("energy", found.get("weights")), min(found.values())])

    def bought(self, budget, of):
        """Effective samples for a budget of "evaluations" or "seconds" that includes warm-up."""
        return max(0.0, budget - getattr(self, f"before_{of}")) * self.ess / getattr(self, of)


def spent(target):  # so far
    return np.array([target.n_evaluations, time.perf_counter()])


def idem(sampler, n, seed):
    """Weighted samples, and the same without their weights."""
    start = spent(sampler.target)
    wt = sampler.sample(n, seed=seed)
    costs = *(spent(sampler.target) - start), sampler.record["n_evaluations"], sampler.record["seconds"]
    wt = wt[wt.reduced_potential.isfinite()]
    return Run(wt, *costs), Run(equal_weights(wt.x, wt.reduced_potential), *costs)


def equal_weights(x, u):
    return WeightedTrajectory(x, torch.zeros(len(x)), kind="importance", reduced_potential=u)


def starts(target, n, seed):
    """Where n chains start."""
    positions = getattr(load_system(target.name), "positions", None)
    if positions is None:
        positions = 2 * target.normal(n, torch.Generator().manual_seed(seed))
    return initial_state(target, positions, n).x


def make_hmc(target):
    return HMC(target, step_size=0.05, n_leapfrog=N_LEAPFROG.get(target.name, 10))


def hmc(target, n_chains, options):
    sampler, x = make_hmc(target), starts(target, n_chains, options.seed)
    start = spent(target)
    sampler.sample(x, 20, n_warmup=0)
    of_a_sweep, start = (spent(target) - start) / 20, spent(target)
    n_draws = max(20, int(min((options.max_evaluations, options.max_seconds) / of_a_sweep)))
    wt = sampler.sample(x, n_draws, n_warmup=options.warmup, seed=options.seed)
    costs, share = spent(target) - start, options.warmup / (options.warmup + n_draws)  # all sweeps cost the same
    return Run(wt, *((1 - share) * costs), *(share * costs))


def nuts(target, options):
    """A chain of Pyro's NUTS, or None without Pyro."""
    try:
        from pyro.infer import NUTS
    except ImportError:
        print("NUTS is left out: it needs Pyro; pip install pyro-ppl\n")
        return None
    n = target.event_shape[0]
    basis = torch.linalg.eigh(torch.eye(n, dtype=target.dtype) - 1 / n)[1][:, 1:]  # centroid at zero

    def configurations(z):
        return basis @ z.reshape(-1, n - 1, target.event_shape[1])

    kernel = NUTS(potential_fn=lambda parameters: target.reduced_potential(configurations(parameters["z"]))[0])
    kernel.initial_params = parameters = {"z": (basis.T @ starts(target, 1, options.seed)[0]).flatten()}
    torch.manual_seed(options.seed)
    start, drawn = spent(target), []
    kernel.setup(options.warmup)
    for _ in range(options.warmup):
        parameters = kernel.sample(parameters)
    warm = spent(target)
    while len(drawn) < 20 or (spent(target) - warm < (options.max_evaluations, options.max_seconds)).all():
        parameters = kernel.sample(parameters)
        drawn.append(parameters["z"].detach().clone())
    end, x = spent(target), configurations(torch.stack(drawn))
    wt = WeightedTrajectory.from_chains(x[:, None], reduced_potential=target.reduced_potential(x)[:, None])
    return Run(wt, *(end - warm), *(warm - start))


def reference_of(target, file, options):
    if file is None:
        sampler, seed = make_hmc(target), options.seed + 1
        x = starts(target, CHAINS[-1], seed)
        return sampler.sample(x, REFERENCE_DRAWS, n_warmup=2000, thinning=REFERENCE_THINNING, seed=seed)
    x = torch.as_tensor(np.load(file), dtype=target.dtype)
    x = target.project(x.reshape(len(x), *target.event_shape))
    return equal_weights(x, target.reduced_potential(x))


def row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def pair(values, digits=0):  # once if they are the same
    return " / ".join(dict.fromkeys(f"{value:,.{digits}f}" for value in values))


def quality(runs, reference, n):
    x, u = reference.x, reference.reduced_potential
    mean, error = reference.expectation(u)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    k = min(n, len(reference) // 2)
    floors = [bootstrap_floor(energy_distances, u, k).mean.w1, bootstrap_floor(distance_total_variation, x, k).mean]
    row(f"reference, {k} of {len(x)}", *[""] * 3, f"{mean:.3f} ± {error:.3f}", *[""] * 4, *map("{:.4f}".format, floors))
    for name, run in runs.items():
        wt, rates = run.wt, [pair(run.ess), pair(run.ess / run.seconds, 1), pair(1e6 * run.ess / run.evaluations)]
        value, own = wt.expectation(wt.reduced_potential)
        cells = [len(wt), f"{run.evaluations:,.0f}", f"{run.seconds:,.1f}", f"{value:.3f} ± {own:.3f}"]
        cells += [f"{(value - mean) / np.hypot(own, error):+.1f}", *(["–"] * 3 if "unweighted" in name else rates)]
        some = wt[torch.linspace(0, len(wt) - 1, min(n, len(wt))).round().long()]
        w1 = energy_distances(some.reduced_potential, u, some.weights).w1
        row(name, *cells, f"{w1:.4f}", f"{distance_total_variation(some.x, x, some.weights):.4f}")


def budgets(runs):
    """The second table."""
    ours, chains = runs["iDEM, path weights"], {name: run for name, run in runs.items() if run.wt.kind == "mcmc"}
    print(f"\n| budget | amount | iDEM | {' | '.join(chains)} |\n{'|---' * (3 + len(chains))}|")
    for of in ("evaluations", "seconds"):
        for which, training in (("excluded", 0), ("included", getattr(ours, f"before_{of}"))):
            budget = getattr(ours, of) + training
            cells = [f"{budget:.4g}", pair(ours.ess), *(pair(run.bought(budget, of)) for run in chains.values())]
            row(f"{of}, training {which}", *cells)
    for of in ("evaluations", "seconds"):
        row(f"iDEM costs fewer {of} from", "", "", *(pair(cheaper_from(ours, run, of)) for run in chains.values()))


def cheaper_from(ours, other, of):
    """Effective samples from which on `ours` costs less than `other`, all included; infinite if never."""
    gain = getattr(other, of) / other.ess - getattr(ours, of) / ours.ess
    ahead = getattr(ours, f"before_{of}") - getattr(other, f"before_{of}")
    return np.where(gain > 0, max(ahead, 0) / gain, np.inf)


def compare(sampler, file, options):
    target = sampler.target
    print(f"\n## {target.name}\n\ntraining: {', '.join(f'{value} {key}' for key, value in sampler.record.items())}\n")
    reference = reference_of(target, file, options)
    runs = {}
    runs["iDEM, path weights"], runs["iDEM, unweighted"] = idem(sampler, options.samples, options.seed)
    for n_chains in CHAINS:
        runs[f"HMC, {n_chains} chain{'s' * (n_chains > 1)}"] = hmc(target, n_chains, options)
    if run := nuts(target, options):
        runs["NUTS, 1 chain"] = run
    quality(runs, reference, options.samples)
    budgets(runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["dw4", "lj13"], help="with weights that come with them")
    parser.add_argument("--weights", nargs="+", metavar="FOLDER", help="of samplers that you trained, instead")
    parser.add_argument("--reference", nargs="+", metavar="FILE", help=".npy (n, d), one for each system or folder")
    parser.add_argument("--samples", type=int, default=4000, help="of iDEM")
    parser.add_argument("--warmup", type=int, default=500, help="sweeps of HMC and draws of NUTS")
    parser.add_argument("--max-evaluations", type=int, default=5_000_000, help="of chains")
    parser.add_argument("--max-seconds", type=float, default=60.0, help="of chains, after warm-up")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    samplers = [IDEM.load(folder) for folder in options.weights or ()]
    samplers = samplers or [IDEM.pretrained(name) for name in options.systems]
    print(f"{options.samples} samples of iDEM, {torch.get_num_threads()} threads")
    for sampler, file in zip(samplers, options.reference or [None] * len(samplers), strict=True):
        compare(sampler, file, options)


if __name__ == "__main__":
    main()
