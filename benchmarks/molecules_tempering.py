"""Long replica exchange in internal coordinates, which knows of no basins: what the sampler is compared with."""

from __future__ import annotations

import torch
from molecules_files import Molecule

from openmm_diffsampler import WeightedTrajectory
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.mcmc.adaptation import StepSize
from openmm_diffsampler.mcmc.kernels import Kernel
from openmm_diffsampler.mcmc.metropolis import metropolis
from openmm_diffsampler.mcmc.rungs import SwapKernel, geometric_ladder
from openmm_diffsampler.mcmc.sampler import BatchedSampler
from openmm_diffsampler.mcmc.state import ChainState, evaluate

#: Rungs, and the hottest temperature over that of the target: 2,100 K for 300.
N_RUNGS, HOTTEST = 12, 7.0
#: Chains, leapfrog steps from trade to trade, where step sizes begin (thermal widths), acceptance they adapt to.
N_CHAINS, N_LEAPFROG, STEP_SIZE, ACCEPTANCE = 16, 8, 0.4, 0.8
#: Steps vary by this share, so that no trajectory closes on itself.
_JITTER = 0.2
#: Share of the budget that steps adapt in, and draws of a chain at most.
WARMUP, MOST_DRAWS = 0.15, 2000


class RungTrajectories(Kernel):
    """A Hamiltonian trajectory of the chains at all rungs in one batch, each rung with an adapted step of its own."""

    def __init__(self, betas: list[float]) -> None:
        super().__init__("trajectories")
        self.betas = tuple(betas)
        self.steps = [StepSize(STEP_SIZE * beta**-0.5, ACCEPTANCE) for beta in betas]
        self.adaptive = list(self.steps)

    def move(
        self, target: InternalTarget, state: ChainState, generator: torch.Generator, adapt: bool, *_: float
    ) -> ChainState:
        """One trajectory of every row."""
        n = len(state) // len(self.betas)
        beta, h = (
            torch.tensor(values, dtype=state.x.dtype).repeat_interleave(n)[:, None]
            for values in (self.betas, [step.value for step in self.steps])
        )
        h = h * (1 + _JITTER * (2 * torch.rand(len(state), 1, generator=generator, dtype=h.dtype) - 1))
        velocity = target.normal(len(state), generator)

        def energy(s: ChainState, v: torch.Tensor) -> torch.Tensor:
            return beta[:, 0] * s.u + v.square().sum(1) / 2

        before, moved = energy(state, velocity), state
        velocity = velocity + h / 2 * beta * moved.score
        for k in range(N_LEAPFROG):
            moved = evaluate(target, moved.x + h * velocity)
            velocity = velocity + (h if k < N_LEAPFROG - 1 else h / 2) * beta * moved.score
        accepted, probability = metropolis(before - energy(moved, velocity), generator)
        self.count("HMC", probability)
        if adapt:
            for step, mean in zip(self.steps, probability.reshape(len(self.betas), n).mean(1).tolist(), strict=True):
                step.update(mean)
        return state.where(accepted, moved)


def tempering(
    molecule: Molecule,
    internal: InternalTarget,
    starts: torch.Tensor,
    budget: float,
    seed: int,
    n_rungs: int = N_RUNGS,
    hottest: float = HOTTEST,
) -> WeightedTrajectory:
    """Chains of the coldest rung as positions, of replica exchange that costs `budget` evaluations.

    Arguments:
        molecule: for topology and temperature.
        internal: its internal coordinates with thermal widths.
        starts: (n, n_atoms, 3) nm, which chains begin at in turn.
        budget: evaluations of all rungs, warm-up included.
        seed: of the run.
        n_rungs, hottest: of the ladder, geometric.

    Raises:
        ValueError: a budget for fewer than four draws.
    """
    betas = geometric_ladder(hottest, n_rungs)
    sampler = BatchedSampler(internal, [RungTrajectories(betas), SwapKernel(betas, reversible=False)], n_rungs)
    y = internal.from_cartesian(internal.coordinates.bent(starts.double()))
    y = y[torch.arange(N_CHAINS) % len(y)]
    sweeps = int(budget / (N_CHAINS * n_rungs * N_LEAPFROG))
    warmup = int(WARMUP * sweeps)
    thinning = max(1, -(-(sweeps - warmup) // MOST_DRAWS))
    if (sweeps - warmup) // thinning < 4:
        raise ValueError(f"{budget:.3g} evaluations are {sweeps} sweeps; give more")
    wt = sampler.sample(y, (sweeps - warmup) // thinning, n_warmup=warmup, thinning=thinning, seed=seed)
    return positions_of(molecule, internal, wt)


def positions_of(molecule: Molecule, internal: InternalTarget, wt: WeightedTrajectory) -> WeightedTrajectory:
    """The same chains in nm, with E/kT."""
    shape = int(wt.chain.max()) + 1, -1
    x = internal.to_cartesian(wt.x)
    u = wt.reduced_potential + internal.log_volume(wt.x)
    return WeightedTrajectory.from_chains(
        x.reshape(*shape, *x.shape[1:]).transpose(0, 1),
        reduced_potential=u.reshape(shape).T,
        topology=molecule.topology,
        temperature=molecule.system.temperature,
    )
