"""Annealed importance sampling from a Gaussian, with no network: what learnt samplers that cool are compared with.

    python benchmarks/annealed_gaussian.py dw4 --scale 3 --levels 200 --leapfrog 5 -n 4096
    python benchmarks/annealed_gaussian.py lj13 --scale 2 --levels 3000 --leapfrog 20 -n 2048

Samples of N(0, S²) are led to the target along e^{−βu(x)} N(x; 0, S²)^{1−β} with β = (k/K)³, by Hamiltonian
trajectories. Step sizes come of a run of its own. Prints a Markdown row.
"""

import argparse
import math

import torch
from edg import kish
from idem import row, timed

from openmm_diffsampler import load_system
from openmm_diffsampler.mcmc.adaptation import StepSize
from openmm_diffsampler.mcmc.hamiltonian import Tether, hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate

#: Of the run that finds step sizes: samples, levels, and updates that are remembered.
_N_PILOT, _N_LEVELS, _MEMORY = 256, 400, 20


def annealed(target, n, n_levels, options, move, generator):
    """Log-weights (n,) of samples that `move`, a function of state, tether, β and progress, leads to the target."""
    scale, d = options.scale, target.n_degrees_of_freedom
    state = evaluate(target, scale * target.normal(n, generator))
    log_weights = torch.full((n,), d * (0.5 * math.log(2 * math.pi) + math.log(scale)), dtype=torch.float64)
    for k in range(1, n_levels + 1):
        before, beta = ((j / n_levels) ** 3 for j in (k - 1, k))
        rise = state.x.flatten(1).square().sum(1) / (2 * scale**2) - state.u
        log_weights = log_weights + (beta - before) * rise
        if k < n_levels:
            tether = Tether(torch.zeros_like(state.x), scale / math.sqrt(1 - beta))
            state = move(state, tether, beta, k / n_levels)
    return log_weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("system")
    parser.add_argument("--scale", type=float, required=True, help="S, in the units of x")
    parser.add_argument("--levels", type=int, default=200, help="K")
    parser.add_argument("--leapfrog", type=int, default=5)
    parser.add_argument("-n", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    target, generator = load_system(options.system).target(), torch.Generator().manual_seed(options.seed)
    step, sizes = StepSize(0.3 * options.scale, 0.8), []

    def moved(state, tether, beta, size):
        given = {"tether": tether, "inverse_temperature": beta}
        return hamiltonian_step(target, state, size, options.leapfrog, generator, **given)

    def adapting(state, tether, beta, progress):
        state, probability = moved(state, tether, beta, step.value)
        step.update(float(probability.median()))  # overlapping particles do not move
        step.n_updates = min(step.n_updates, _MEMORY)
        sizes.append(step.value)
        return state

    def steady(state, tether, beta, progress):
        return moved(state, tether, beta, sizes[int(progress * len(sizes))])[0]

    annealed(target, _N_PILOT, _N_LEVELS, options, adapting, generator)
    log_weights, seconds = timed(lambda: annealed(target, options.n, options.levels, options, steady, generator))
    ess = kish(log_weights)
    log_z, error = float(log_weights.logsumexp(0)) - math.log(options.n), ((1 / ess - 1) / options.n) ** 0.5
    row("system", "samples", "evaluations of each", "ESS", "log Z", "seconds")
    row(*["---"] * 6)
    cost = (options.levels - 1) * options.leapfrog + 1
    row(options.system, f"{options.n:,}", f"{cost:,}", f"{ess:.3f}", f"{log_z:.3f} ± {error:.3f}", f"{seconds:.0f}")


if __name__ == "__main__":
    main()
