"""Plain Hamiltonian Monte Carlo and MALA, batched: what diffusive Gibbs sampling is compared with."""

from .kernels import HamiltonianKernel
from .sampler import BatchedSampler

__all__ = ["HMC", "MALA"]


class HMC(BatchedSampler):
    """Hamiltonian Monte Carlo with unit masses, many chains at once.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        step_size: where the adaptation of the step size starts, in the units of x (nm for molecules).
        n_leapfrog: leapfrog steps of a trajectory, one evaluation each.

    References:
        Duane et al., Hybrid Monte Carlo, Phys. Lett. B 195 (1987).

    Example:
        >>> import torch
        >>> from openmm_diffsampler import HMC, GaussianMixture
        >>> target = GaussianMixture(torch.zeros(1, 2), scales=1.0)
        >>> HMC(target, step_size=0.5).sample(torch.zeros(2), 100, n_chains=50).n_frames
        5000
    """

    def __init__(self, target, *, step_size, n_leapfrog=10):
        super().__init__(target, [HamiltonianKernel(step_size, n_leapfrog)])


class MALA(BatchedSampler):
    """Metropolis-adjusted Langevin algorithm, which is HMC with a single leapfrog step.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        step_size: √(2ε) of the Langevin time step ε, where adaptation starts.

    References:
        Roberts & Tweedie, Bernoulli 2 (1996).

    Example:
        >>> import torch
        >>> from openmm_diffsampler import MALA, GaussianMixture
        >>> target = GaussianMixture(torch.zeros(1, 2), scales=1.0)
        >>> MALA(target, step_size=1.0).sample(torch.zeros(2), 100, n_chains=50).n_frames
        5000
    """

    def __init__(self, target, *, step_size):
        super().__init__(target, [HamiltonianKernel(step_size, 1, name="MALA")])
