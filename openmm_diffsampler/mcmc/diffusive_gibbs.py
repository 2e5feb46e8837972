"""Diffusive Gibbs sampling of many chains at once, on any target."""

from openmm_diffsampler.coordinates import BondRotations

from .kernels import NoiseKernel, RotationKernel
from .rungs import inverse_temperatures_of, replica_kernels
from .sampler import BatchedSampler
from .sweep import Sweep

__all__ = ["DiffusiveGibbs"]


class DiffusiveGibbs(BatchedSampler):
    r"""Diffusive Gibbs sampling (DiGS): chains jump through noise, x → x̃ → x.

    The sweep is that of :class:`~openmm_diffsampler.mcmc.sweep.Sweep`, with unit masses: each level noises,
    :math:`\tilde x \sim N(\alpha x, \sigma^2)`, and draws from the denoising posterior

    .. math:: p(x \mid \tilde x) \propto e^{-u(x)}\, N(\tilde x; \alpha x, \sigma^2)

    by a Metropolis-corrected guess and Hamiltonian steps. Only s = σ/α enters. In Cartesian coordinates a molecule
    accepts guesses only at tiny s; for it ``torsion_scale`` adds a level whose noise turns rotatable bonds.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        noise_scales: s of each level, in the units of x (nm for molecules): a number, or one number a particle (a
            coordinate, for densities without particles), where zero leaves a particle out of the noise.
        step_size: where the adaptation of each level's step size starts, in the units of x.
        n_leapfrog: leapfrog steps of one Hamiltonian step.
        n_denoising_steps: Hamiltonian steps of a level.
        denoiser: ``"hmc"``, or ``"mala"`` for a single leapfrog step.
        correct_guess: the Metropolis step of the guess. False only shows what goes wrong without it: modes get wrong
            weights.
        torsion_scale: s in radians of a level that noises one rotatable bond of each chain at a time, double bonds
            included, or None. It needs the topology of the target, with bonds.
        n_torsion_trials: rotations a sweep; by default one for each rotatable bond.
        inverse_temperatures: β of each rung of replica exchange, falling from 1, at each of which all of this runs, or
            None.
        swaps: ``"non-reversible"`` or ``"reversible"``.

    Raises:
        ValueError: no levels, scales or step sizes that are not positive, an unknown denoiser, no rotatable bonds.

    References:
        Chen et al., Diffusive Gibbs Sampling, ICML 2024, arXiv:2402.03008.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import DiffusiveGibbs, GaussianMixture
        >>> means = torch.tensor([[-5.0], [5.0]])
        >>> target = GaussianMixture(means, scales=1.0, weights=[0.2, 0.8])
        >>> sampler = DiffusiveGibbs(target, noise_scales=[5.0], step_size=1.0)
        >>> wt = sampler.sample(means[1], 200, n_chains=100, seed=1)
        >>> share, standard_error = wt.expectation(lambda x: (x[:, 0] > 0).double())
        >>> abs(share - 0.8) < 3 * standard_error
        True
    """

    def __init__(
        self,
        target,
        noise_scales,
        *,
        step_size,
        n_leapfrog=5,
        n_denoising_steps=1,
        denoiser="hmc",
        correct_guess=True,
        torsion_scale=None,
        n_torsion_trials=None,
        inverse_temperatures=None,
        swaps="non-reversible",
    ):
        sweep = Sweep(noise_scales, n_leapfrog, n_denoising_steps, denoiser)
        rotations = None
        if torsion_scale is not None:
            if target.topology is None:
                raise ValueError("torsion_scale needs the bonds of the molecule; give the target a topology")
            rotations = BondRotations(target.topology, target.device)
        elif not sweep.noise_scales:
            raise ValueError("there is no noise level; give noise_scales, for example [0.1]")
        for scale in sweep.noise_scales:
            if not isinstance(scale, float) and len(scale) != target.event_shape[0]:
                raise ValueError(f"a noise level has {len(scale)} scales and {target.name} {target.event_shape[0]}")

        def kernels(beta):
            turns = [] if rotations is None else [(rotations, torsion_scale, n_torsion_trials or len(rotations))]
            counts = sweep.n_leapfrog, sweep.n_denoising_steps, correct_guess
            noise = [NoiseKernel(s, step_size * beta**-0.5, *counts) for s in sweep.noise_scales]
            return [*(RotationKernel(*turn) for turn in turns), *noise]

        if inverse_temperatures is None:
            super().__init__(target, kernels(1.0))
        else:
            betas = inverse_temperatures_of(inverse_temperatures)
            super().__init__(target, replica_kernels(kernels, betas, swaps), len(betas))
