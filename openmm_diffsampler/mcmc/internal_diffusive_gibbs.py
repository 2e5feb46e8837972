"""Diffusive Gibbs sampling in internal coordinates, where noise crosses barriers without breaking bonds."""

import dataclasses

from openmm_diffsampler.coordinates import InternalTarget, rotor_order, torsion_blocks

from .kernels import HamiltonianKernel, NoiseKernel
from .rungs import inverse_temperatures_of, replica_kernels
from .sampler import BatchedSampler
from .state import initial_state
from .sweep import Sweep
from .thermal_widths import measure_widths
from .torsion_kernels import LearnedTorsionKernel, TorsionNoiseKernel

__all__ = ["InternalDiffusiveGibbs"]


class InternalDiffusiveGibbs(BatchedSampler):
    r"""Diffusive Gibbs sampling (DiGS) in bonds, angles and torsions, with noise N(z, s²D) shaped like the molecule.

    The density is that of :class:`~openmm_diffsampler.coordinates.InternalTarget`, its log-Jacobian included, in units
    of thermal widths D^{1/2}. A sweep noises

    1. neighbouring pairs of rotatable torsions, without bound, and guesses them from their learned density
       (:class:`~openmm_diffsampler.mcmc.torsion_kernels.LearnedTorsionKernel`);
    2. single rotatable torsions by s of their own, adapted to an acceptance of 0.3, and with `n_all_trials` all of
       them at once;
    3. every coordinate by each of `noise_scales`, in thermal widths, as plain DiGS does;

    each with a Metropolis-corrected guess, and then makes Hamiltonian steps in all coordinates. What warm-up adapts is
    frozen after it. With `inverse_temperatures` all of this runs inside replica exchange.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` of a molecule, with a topology that has bonds.
        positions: a configuration in nm, (n_atoms, 3): its stereocentres are kept, thermal widths are measured near it.
        n_learned_trials: guesses of pairs a sweep; by default 4, or as many as there are pairs if that is more.
        n_trials: guesses of single torsions a sweep; by default one for every three rotatable torsions.
        n_all_trials: guesses of all torsions at once a sweep.
        noise_scales: s of levels that noise every coordinate, in thermal widths: a number, or one a coordinate.
        n_leapfrog, n_steps: leapfrog steps of a trajectory, and trajectories a sweep.
        inverse_temperatures: β of each rung of replica exchange, falling from 1, or None.
        swaps: ``"non-reversible"`` or ``"reversible"``.
        chirality: ``"keep"``: proposals that mirror a stereocentre are rejected, and counted in
            :attr:`n_inverted`; ``"free"``: they are accepted like any other.
        widths: thermal widths (3N − 6,), nm and radians; by default measured.

    Raises:
        TypeError, ValueError: a target without bonds, or whose energy depends on where the molecule is; atoms in a
            line; no rotatable torsion and no other noise.

    References:
        Chen et al., Diffusive Gibbs Sampling, ICML 2024, arXiv:2402.03008.

    Example:
        >>> from openmm_diffsampler import InternalDiffusiveGibbs, load_system
        >>> molecule = load_system("alanine-dipeptide-vacuum")
        >>> sampler = InternalDiffusiveGibbs(molecule.target(), molecule.positions)
        >>> wt = sampler.sample(molecule.positions, 20, n_chains=16, n_warmup=20, seed=0)
        >>> wt.trajectory.xyz.shape, sampler.statistics[0]["guess acceptance"] > 0.2
        ((320, 22, 3), True)
    """

    def __init__(
        self,
        target,
        positions,
        *,
        n_learned_trials=None,
        n_trials=None,
        n_all_trials=0,
        noise_scales=(),
        n_leapfrog=3,
        n_steps=2,
        inverse_temperatures=None,
        swaps="non-reversible",
        chirality="keep",
        widths=None,
    ):
        sweep = Sweep(noise_scales, n_leapfrog, n_steps)
        if target.topology is None:
            raise TypeError(f"{target.name} has no topology, which internal coordinates are made from")
        x = initial_state(target, positions).x
        internal = InternalTarget(target, x, widths=widths, chirality=chirality)
        if widths is None:
            measure_widths(internal, x)
        torsions, blocks = internal.coordinates.rotatable_torsions, torsion_blocks(internal.coordinates)
        rotatable = list(torsions)
        orders = [rotor_order(target.topology, atoms) for atoms in torsions.values()]
        if not rotatable and not noise_scales:
            raise ValueError(
                f"{target.name} has no rotatable torsion; give noise_scales, or sample it with HMC or ParallelTempering"
            )
        if n_learned_trials is None:
            n_learned_trials = max(4, len(blocks)) if blocks else 0
        if n_trials is None:
            n_trials = -(-len(rotatable) // 3)
        scales = internal.widths

        def kernels(beta):
            made = []
            if n_learned_trials:
                made.append(LearnedTorsionKernel(blocks, scales, n_learned_trials))
            if n_trials:
                made.append(TorsionNoiseKernel([(k,) for k in rotatable], scales, n_trials, orders))
            if n_all_trials:
                name = "noise on all torsions"
                made.append(TorsionNoiseKernel([rotatable], scales, n_all_trials, name=name))
            made += [NoiseKernel(s, 0.4 * beta**-0.5, n_leapfrog, n_steps) for s in sweep.noise_scales]
            return [*made, HamiltonianKernel(0.4 * beta**-0.5, n_leapfrog, n_steps)]

        if inverse_temperatures is None:
            super().__init__(internal, kernels(1.0))
        else:
            betas = inverse_temperatures_of(inverse_temperatures)
            super().__init__(internal, replica_kernels(kernels, betas, swaps), len(betas))

    @property
    def n_inverted(self):
        """Proposals rejected so far because they mirrored a stereocentre."""
        return self.target.n_inverted

    @property
    def _frames_of(self):
        return self.target.cartesian

    def _start(self, initial, n_chains):
        state = initial_state(self.target.cartesian, initial, n_chains)
        if self.target.chirality == "keep" and not self.target.handedness.is_kept(state.x).all():
            raise ValueError(
                "chains start from configurations with stereocentres on other hands than the positions that the "
                'sampler was made with; give one stereoisomer, or chirality="free"'
            )
        return initial_state(self.target, self.target.from_cartesian(state.x))

    def _sweep(self, state, generator, adapt=False):
        """Torsions are lifted within a sweep, and brought back to one turn after it: nothing is tethered then."""
        return super()._sweep(dataclasses.replace(state, x=self.target.wrap(state.x)), generator, adapt)

    def _kept(self, state):
        y, u = super()._kept(state)
        # Reduced potentials of frames are E/kT, without the volume element of the coordinates.
        x = self.target.to_cartesian(y)
        return x, u + self.target.log_volume(y)
