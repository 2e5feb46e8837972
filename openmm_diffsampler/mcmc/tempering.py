"""Parallel tempering: chains at several temperatures trade configurations, the hot ones cross barriers for the cold."""

from .kernels import HamiltonianKernel
from .rungs import inverse_temperatures_of, replica_kernels
from .sampler import BatchedSampler

__all__ = ["ParallelTempering"]


class ParallelTempering(BatchedSampler):
    r"""Replica exchange of Hamiltonian Monte Carlo chains that sample :math:`e^{-\beta_r u(x)}`, for β from 1 down.

    A sweep makes `n_steps` trajectories at every rung r of the ladder and then offers neighbours (r, r+1) to trade
    configurations, accepted with :math:`\min(1, e^{(\beta_r - \beta_{r+1})(u_r - u_{r+1})})`. Draws are those of
    β = 1. A target without walls spreads ever wider as β falls, so that the ladder must end where it is still normal.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        inverse_temperatures: β of each rung, falling from 1.
        step_size: where the adaptation of each rung's step size starts, in the units of x, for β = 1; hotter rungs
            start at ``step_size/√β``. A list gives each rung its own.
        n_leapfrog: leapfrog steps of a trajectory, one evaluation each.
        n_steps: trajectories of a rung in a sweep.
        swaps: ``"non-reversible"``: even and odd pairs in turn, which carries configurations along the ladder;
            ``"reversible"``: even or odd pairs at random.

    Raises:
        ValueError: fewer than two rungs, β that do not fall from 1, as many step sizes as there are not rungs, unknown
            swaps.

    References:
        Swendsen & Wang, Phys. Rev. Lett. 57 (1986); Syed et al., Non-reversible parallel tempering, JRSS B 84 (2022).

    Example:
        >>> import torch
        >>> from openmm_diffsampler import GaussianMixture, ParallelTempering
        >>> target = GaussianMixture(torch.tensor([[-9.0], [9.0]]), scales=1.0, weights=[0.2, 0.8])
        >>> sampler = ParallelTempering(target, [1.0, 0.25, 0.06], step_size=1.0, n_leapfrog=4)
        >>> wt = sampler.sample(target.means[0], 500, n_chains=50, seed=1)
        >>> share, standard_error = wt.expectation(lambda x: (x[:, 0] > 0).double())
        >>> abs(share - 0.8) < 3 * standard_error
        True
    """

    def __init__(self, target, inverse_temperatures, *, step_size, n_leapfrog=10, n_steps=1, swaps="non-reversible"):
        betas = inverse_temperatures_of(inverse_temperatures)
        steps = step_size if hasattr(step_size, "__len__") else [step_size * beta**-0.5 for beta in betas]
        if len(steps) != len(betas):
            raise ValueError(f"there are {len(steps)} step sizes and {len(betas)} rungs")

        def kernels(beta):
            return [HamiltonianKernel(steps[betas.index(beta)], n_leapfrog, n_steps, name="")]

        super().__init__(target, replica_kernels(kernels, betas, swaps), len(betas))
        self.inverse_temperatures = betas
