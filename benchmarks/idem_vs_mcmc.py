"""What iDEM's independent samples cost beside Markov chains, at equal energy evaluations and at equal wall time.

    python benchmarks/idem_vs_mcmc.py [--systems dw4 lj13] [--samples 4000] [--reference dw4.npy lj13.npy]
    python benchmarks/idem_vs_mcmc.py --weights FOLDER [FOLDER ...]

Compared are iDEM with the path weights of its samples; HMC in one chain, which wastes the fewest evaluations on
warm-up, and in many side by side, which is fastest; and a chain of the No-U-Turn sampler of Pyro (``pip install
pyro-ppl``; left out where it is missing), in an orthonormal basis of the configurations whose centroid is zero. In
warm-up HMC adapts its step size, NUTS that and a diagonal mass matrix. Chains start from the configuration that comes
with the system, and for DW-4, which has none, from a Gaussian cloud.

The first table says how good the samples are, and at what rate they come after warm-up or training. An ESS is Kish's of
the weights, and for chains that by autocorrelation, of the energy and of the slower one of energy and radius of
gyration. "σ off" is how far the mean energy is from that of the reference, in standard errors of the difference. Energy
W1 and the total variation of interparticle distances are of as many frames as iDEM drew, evenly spaced in the chains,
since histograms get better with their count; the first row has those of exact draws. The reference is yours, or a long
HMC run with a seed of its own.

The second table says how many effective samples the same budget buys: what iDEM spent on sampling alone, and with its
training. For chains this is rate × (budget − warm-up), energy / slowest, with the rate of the run in the first table,
which ends at ``--max-evaluations`` or ``--max-seconds`` after warm-up; no budget is run itself. The last rows say from
how many effective samples on iDEM costs less, training included. Seconds of training are as recorded with the weights,
perhaps on another machine: compare those with care.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
import torch

from openmm_diffsampler import HMC, IDEM, WeightedTrajectory, load_system
from openmm_diffsampler.analysis import bootstrap_floor, distance_total_variation, energy_distances
from openmm_diffsampler.mcmc.state import initial_state

#: Chains of the HMC runs, the last of which also makes a reference; draws of that reference and sweeps between them.
CHAINS = (1, 256)
REFERENCE_DRAWS, REFERENCE_THINNING = 80, 20
#: Leapfrog steps of a trajectory: the best of 5, 10, 20 and 40 (10 to 80 for LJ-13) for the slowest ESS an evaluation.
N_LEAPFROG = {"dw4": 10, "lj13": 20}

COLUMNS = (
    "sampler | frames | evaluations | seconds | mean energy | σ off | ESS, energy / slowest | ESS/s | "
    "ESS / 10⁶ evaluations | energy W1 | distance TV"
)


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


def idem(sampler, n, seed):
    """Weighted samples, and the same without their weights."""
    target, record = sampler.target, sampler.record
    evaluations, start = target.n_evaluations, time.perf_counter()
    wt = sampler.sample(n, seed=seed)
    costs = (
        target.n_evaluations - evaluations,
        time.perf_counter() - start,
        record["n_evaluations"],
        record["seconds"],
    )
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


def hmc(target, n_chains, options, seed):
    sampler, x = make_hmc(target), starts(target, n_chains, seed)
    start = time.perf_counter()
    sampler.sample(x, 20, n_warmup=0)
    seconds = (time.perf_counter() - start) / 20
    n_sweeps = min(options.max_evaluations / (n_chains * sampler.kernels[0].n_leapfrog), options.max_seconds / seconds)
    n_draws = max(20, int(n_sweeps))
    evaluations, start = target.n_evaluations, time.perf_counter()
    wt = sampler.sample(x, n_draws, n_warmup=options.warmup, seed=seed)
    spent = np.array([target.n_evaluations - evaluations, time.perf_counter() - start])
    share = options.warmup / (options.warmup + n_draws)  # all sweeps cost the same
    return Run(wt, *((1 - share) * spent), *(share * spent))


def nuts(target, options, seed):
    """A chain of Pyro's NUTS, or None without Pyro."""
    try:
        from pyro.infer import NUTS
    except ImportError:
        print("NUTS is left out: it needs Pyro; pip install pyro-ppl\n")
        return None
    n, dimension = target.event_shape
    basis = torch.linalg.eigh(torch.eye(n, dtype=target.dtype) - 1 / n)[1][:, 1:]  # centroid at zero

    def configurations(z):
        return basis @ z.reshape(-1, n - 1, dimension)

    kernel = NUTS(potential_fn=lambda parameters: target.reduced_potential(configurations(parameters["z"]))[0])
    kernel.initial_params = parameters = {"z": (basis.T @ starts(target, 1, seed)[0]).flatten()}
    torch.manual_seed(seed)
    marks, drawn = [(target.n_evaluations, time.perf_counter())], []
    kernel.setup(options.warmup)
    for _ in range(options.warmup):
        parameters = kernel.sample(parameters)
    marks.append((target.n_evaluations, time.perf_counter()))
    most = np.add(marks[1], (options.max_evaluations, options.max_seconds))
    while len(drawn) < 20 or (np.array([target.n_evaluations, time.perf_counter()]) < most).all():
        parameters = kernel.sample(parameters)
        drawn.append(parameters["z"].detach().clone())
    marks.append((target.n_evaluations, time.perf_counter()))
    before, after = np.diff(marks, axis=0)
    x = configurations(torch.stack(drawn))
    wt = WeightedTrajectory.from_chains(x[:, None], reduced_potential=target.reduced_potential(x)[:, None])
    return Run(wt, *after, *before)


def reference_of(target, file, options):
    if file is None:
        x = starts(target, CHAINS[-1], options.seed + 1)
        thinning = {"thinning": REFERENCE_THINNING, "n_warmup": options.warmup, "seed": options.seed + 1}
        return make_hmc(target).sample(x, REFERENCE_DRAWS, **thinning)
    x = torch.as_tensor(np.load(file), dtype=target.dtype)
    if x[0].numel() != np.prod(target.event_shape):
        raise ValueError(f"{file} has shape {tuple(x.shape)}; {target.name} has {target.event_shape}")
    x = target.project(x.reshape(-1, *target.event_shape))
    return equal_weights(x, target.reduced_potential(x))


def row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def pair(values, digits=0):
    """Of the energy and of the slowest observable; once if they are the same."""
    return " / ".join(dict.fromkeys(f"{value:,.{digits}f}" for value in values))


def quality(runs, reference, n):
    """The first table."""
    x, u = reference.x, reference.reduced_potential
    mean, error = reference.expectation(u)
    print(f"| {COLUMNS} |\n{'|---' * 11}|")
    k = min(n, len(reference) // 2)
    floors = [bootstrap_floor(energy_distances, u, k).mean.w1, bootstrap_floor(distance_total_variation, x, k).mean]
    row(f"reference, {k} of {len(x)}", *[""] * 3, f"{mean:.3f} ± {error:.3f}", *[""] * 4, *map("{:.4f}".format, floors))
    for name, run in runs.items():
        wt, rates = run.wt, [pair(run.ess), pair(run.ess / run.seconds, 1), pair(1e6 * run.ess / run.evaluations)]
        if "unweighted" in name:  # not of the target, however many
            rates = ["–"] * 3
        value, own = wt.expectation(wt.reduced_potential)
        cells = [len(wt), f"{run.evaluations:,.0f}", f"{run.seconds:,.1f}", f"{value:.3f} ± {own:.3f}"]
        cells += [f"{(value - mean) / np.hypot(own, error):+.1f}", *rates]
        some = wt[torch.linspace(0, len(wt) - 1, min(n, len(wt))).round().long()]
        w1, tv = energy_distances(some.reduced_potential, u, some.weights).w1, (some.x, x, some.weights)
        row(name, *cells, f"{w1:.4f}", f"{distance_total_variation(*tv):.4f}")


def budgets(runs):
    """The second table."""
    ours, chains = runs["iDEM, path weights"], {name: run for name, run in runs.items() if run.wt.kind == "mcmc"}
    print(f"\n| budget | amount | iDEM | {' | '.join(chains)} |\n{'|---' * (3 + len(chains))}|")
    for of in ("evaluations", "seconds"):
        for which, training in (("excluded", 0), ("included", getattr(ours, f"before_{of}"))):
            budget = getattr(ours, of) + training
            bought = [pair(run.bought(budget, of)) for run in chains.values()]
            row(f"{of}, training {which}", f"{budget:,.0f}", pair(ours.ess), *bought)
    for of in ("evaluations", "seconds"):
        row(f"iDEM costs fewer {of} from", "", "", *(cheaper_from(ours, run, of) for run in chains.values()))


def cheaper_from(ours, other, of):
    """Effective samples from which on `ours` costs less than `other`, all included."""
    gains = getattr(other, of) / other.ess - getattr(ours, of) / ours.ess
    ahead = getattr(ours, f"before_{of}") - getattr(other, f"before_{of}")
    return " / ".join(f"{max(0.0, ahead / gain):,.0f}" if gain > 0 else "never" for gain in gains)


def compare(sampler, file, options):
    target, seed = sampler.target, options.seed
    record = {key: sampler.record.get(key) for key in ("n_steps", "n_evaluations", "seconds", "threads")}
    print(f"\n## {target.name}\n\ntraining: {record}\n")
    reference = reference_of(target, file, options)
    runs = dict(zip(("iDEM, path weights", "iDEM, unweighted"), idem(sampler, options.samples, seed), strict=True))
    for n_chains in CHAINS:
        runs[f"HMC, {n_chains} chain{'s' * (n_chains > 1)}"] = hmc(target, n_chains, options, seed)
    if (run := nuts(target, options, seed)) is not None:
        runs["NUTS, 1 chain"] = run
    quality(runs, reference, options.samples)
    budgets(runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["dw4", "lj13"], help="with weights that come with them")
    parser.add_argument("--weights", nargs="+", metavar="FOLDER", help="of samplers that you trained, instead")
    parser.add_argument("--reference", nargs="+", metavar="FILE", help=".npy (n, d), one for each system or folder")
    parser.add_argument("--samples", type=int, default=4000, help="of iDEM")
    parser.add_argument("--warmup", type=int, default=300, help="sweeps of HMC and draws of NUTS")
    parser.add_argument("--max-evaluations", type=int, default=5_000_000, help="of chains")
    parser.add_argument("--max-seconds", type=float, default=60.0, help="of chains, after warm-up")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.weights:
        samplers = [IDEM.load(folder) for folder in options.weights]
    else:
        samplers = [IDEM.pretrained(name) for name in options.systems]
    files = options.reference or [None] * len(samplers)
    print(f"{options.samples} samples of iDEM, {torch.get_num_threads()} threads")
    for sampler, file in zip(samplers, files, strict=True):
        compare(sampler, file, options)


if __name__ == "__main__":
    main()
