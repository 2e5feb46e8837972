"""What training starts with: configurations in equilibrium, and what is measured on them."""

import torch

from openmm_diffsampler.diffusion.kernels import wrapped
from openmm_diffsampler.mcmc.annealing import annealed_chains
from openmm_diffsampler.mcmc.kernels import HamiltonianKernel
from openmm_diffsampler.mcmc.state import evaluate

from .exploration import explore_for

__all__ = ["equilibrium_start", "hamiltonian_step_size", "whiten", "width_of"]

#: Chains and trajectories that the Hamiltonian step size of a molecule is found with, and where it starts.
_N_CHAINS, _N_TRAJECTORIES, _STEP_SIZE = 256, 60, 0.4


def equilibrium_start(target, n, run):
    """Configurations in equilibrium, and a step size of Hamiltonian steps that suits them.

    Arguments:
        target: a :class:`~openmm_diffsampler.coordinates.whitened_target.WhitenedTarget`, which is explored and then
            whitened here; or a density without angles, which chains are led to.
        n: configurations; there are fewer if fewer were explored.
        run: the :class:`~openmm_diffsampler.samplers.training.Training`, whose processes agree on the coordinates.

    Returns:
        x (n, *event_shape), step size.
    """
    options = run.sampler.settings
    if options.initial == "annealed":
        chains = annealed_chains(target, n, options.s_max, run.generator)
        return chains.state.x, chains.step_size
    y = whiten(run, target)
    rows = torch.randperm(len(y), generator=run.generator, device=target.device)[:n]
    x = wrapped(target, target.from_internal(y[rows]))
    return x, hamiltonian_step_size(target, x, options.n_leapfrog, run.generator)


def whiten(run, target):
    """Explore a molecule, and whiten its coordinates by what is found: (n, 3N − 6) in those of its InternalTarget."""
    y = explore_for(run, target.internal).x.to(target.device, target.dtype)
    target.whiten(y)
    target.load_state_dict({name: run.agree(value) for name, value in target.state_dict().items()})
    return y


def hamiltonian_step_size(target, x, n_leapfrog, generator, beta=1.0):
    """The step size of Hamiltonian trajectories that suits e^{−βu}, learnt on the first of x (n, *event_shape)."""
    kernel, state = HamiltonianKernel(_STEP_SIZE, n_leapfrog), evaluate(target, x[:_N_CHAINS])
    for _ in range(_N_TRAJECTORIES):
        state = kernel(target, state, generator, adapt=True, inverse_temperature=beta)
    kernel.step_size.freeze()
    return kernel.step_size.value


def width_of(target, x):
    """Root mean square, a tensor, of the real coordinates of x (n, *event_shape).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> float(width_of(GaussianMixture([[0.0, 0.0]], scales=1.0), torch.tensor([[3.0, 3.0], [-3.0, 3.0]])))
        3.0
    """
    if target.periods is None:
        return (x.flatten(1).square().sum(1).mean() / target.n_degrees_of_freedom).sqrt()
    return x[:, target.periods.isinf()].square().mean().sqrt()
