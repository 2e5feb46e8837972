"""Diffusive Gibbs sampling in internal coordinates, where noise crosses barriers without breaking bonds."""

import dataclasses
import warnings

from openmm_diffsampler.analysis.landscape import Landscape, Part
from openmm_diffsampler.coordinates import (
    InternalTarget,
    MissingBondsWarning,
    how_to_add_bonds,
    missing_bonds,
    random_rotations,
    rotor_orders,
    stiff_fragments,
    torsion_blocks,
)
from openmm_diffsampler.targets.positions import lengths_in_nm

from .basin_kernel import BasinJumpKernel
from .basins import FragmentBasins, learn_basins
from .conformers import find_conformers, spread_starts
from .kernels import HamiltonianKernel, NoiseKernel
from .rungs import inverse_temperatures_of, replica_kernels
from .sampler import BatchedSampler
from .state import initial_state
from .sweep import Sweep
from .thermal_widths import measure_widths
from .torsion_kernels import LearnedTorsionKernel, TorsionNoiseKernel

__all__ = ["STARTS", "InternalDiffusiveGibbs"]

STARTS = ("conformers", "positions")
#: Rotors of equal atoms count as so many times faster than they are: their wells are the same.
_ROTOR_EASE = 3.0


class InternalDiffusiveGibbs(BatchedSampler):
    r"""Diffusive Gibbs sampling (DiGS) in bonds, angles and torsions, with noise N(z, s²D) shaped like the molecule.

    The density is that of :class:`~openmm_diffsampler.coordinates.InternalTarget`, its log-Jacobian included, in units
    of thermal widths D^{1/2}. A sweep noises

    1. rotatable torsions, neighbouring pairs and triples about one atom, without bound, and guesses them from their
       learned density (:class:`~openmm_diffsampler.mcmc.torsion_kernels.LearnedTorsionKernel`);
    2. with `n_trials` single rotatable torsions by s of their own, adapted to an acceptance of 0.3, and with
       `n_all_trials` all of them at once;
    3. the stiff coordinates of ring systems and pyramidal nitrogens, guessed in another of their basins
       (:class:`~openmm_diffsampler.mcmc.basin_kernel.BasinJumpKernel`);
    4. every coordinate by each of `noise_scales`, in thermal widths, as plain DiGS does;

    each with a Metropolis-corrected guess, and then makes Hamiltonian steps in all coordinates. What warm-up adapts is
    frozen after it. A rigid molecule gets the Hamiltonian steps alone. With `inverse_temperatures` all of this runs
    inside replica exchange.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` of a molecule, with a topology that has bonds.
        positions: a configuration in nm, (n_atoms, 3): its stereocentres are kept, thermal widths are measured near it.
        n_learned_trials: learned guesses a sweep; by default as many as warm-up finds best.
        n_trials: guesses of single torsions by noise, which is not learned, a sweep.
        n_all_trials: guesses of all torsions at once a sweep.
        noise_scales: s of levels that noise every coordinate, in thermal widths: a number, or one a coordinate.
        n_leapfrog, n_denoising_steps: leapfrog steps of a trajectory, and trajectories a sweep.
        inverse_temperatures: β of each rung of replica exchange, falling from 1, or None.
        swaps: ``"non-reversible"`` or ``"reversible"``.
        chirality: ``"keep"``: what mirrors a stereocentre is rejected, and counted in :attr:`n_inverted`; ``"free"``:
            it is accepted like anything else.
        isomers: ``"keep"``: double bonds stay E or Z, and axes between rings that crowding locks stay on their side
            (:func:`~openmm_diffsampler.coordinates.held_bonds.held_bonds` has the rule); all else turns, amides too.
            ``"free"``: everything turns. A list of bonds, pairs of atom indices: these are held and no others. By
            default as `chirality`.
        basin_jumps: whether to find the basins of ring systems and pyramidal nitrogens, and jump between them.
        starts: ``"conformers"``: chains that are given one configuration start spread over the conformers that a hot
            search finds, so that R-hat tells of modes that do not mix; ``"positions"``: they all start there.
        n_search: evaluations of that search, about; by default 110,000, or 20,000 with backend ``"openmm"``.
        widths: thermal widths (3N − 6,), nm and radians; by default measured.

    Attributes:
        rotatable: dict of the columns of torsions that are turned → their four atoms.
        held: list of :class:`~openmm_diffsampler.coordinates.held_bonds.HeldBond`, which print as "C1=N1 (double bond,
            69 kJ/mol)"; `double_bonds` has the columns of their torsions.
        basins: list of :class:`~openmm_diffsampler.mcmc.basins.FragmentBasins`, of fragments that have several.
        conformers: :class:`~openmm_diffsampler.mcmc.conformers.Conformers` that were found, or None.

    Raises:
        TypeError, ValueError: a target without topology, counts or scales out of range.
        NoInternalCoordinatesError: no bonds, or an energy that depends on where the molecule is.

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
        n_trials=0,
        n_all_trials=0,
        noise_scales=(),
        n_leapfrog=3,
        n_denoising_steps=2,
        inverse_temperatures=None,
        swaps="non-reversible",
        chirality="keep",
        isomers=None,
        basin_jumps=True,
        starts="conformers",
        n_search=None,
        widths=None,
    ):
        if starts not in STARTS:
            raise ValueError(f"starts is {starts!r}; supported are {', '.join(map(repr, STARTS))}")
        sweep = Sweep(noise_scales, n_leapfrog, n_denoising_steps)
        x = initial_state(target, positions).x
        internal = InternalTarget(target, x, widths=widths, chirality=chirality, isomers=isomers)
        _warn_of_missing_bonds(target, x)
        x = internal.coordinates.bent(x)
        if widths is None:
            measure_widths(internal, x)
        internal.hold_isomers()
        self.rotatable = {k: internal.coordinates.rotatable_torsions[k] for k in internal.turning}
        blocks = torsion_blocks(internal.coordinates, internal.held)
        self.starts = starts
        self.conformers = find_conformers(internal, x, n_search) if basin_jumps or starts == "conformers" else None
        self._fragments = stiff_fragments(internal.coordinates) if basin_jumps else []
        self.basins = _learned_basins(internal, self._fragments, self.conformers)
        for name, n in (("learned_", n_learned_trials), ("", n_trials), ("all_", n_all_trials)):
            if n is not None and n < 0:
                raise ValueError(f"n_{name}trials is {n}; it must be at least 0")
        for scale in sweep.noise_scales:
            if not isinstance(scale, float) and len(scale) != len(internal.coordinates):
                raise ValueError(f"a noise level has {len(scale)} scales, and there are {len(internal.coordinates)}")
        orders = rotor_orders(target.topology, self.rotatable.values())
        ease = {k: _ROTOR_EASE for k, order in zip(self.rotatable, orders, strict=True) if order > 2}
        halves = {k: 2 for k, order in zip(self.rotatable, orders, strict=True) if order == 2}
        counts = sweep.n_leapfrog, sweep.n_denoising_steps

        n_others = n_leapfrog * n_denoising_steps

        def kernels(beta):
            made = []
            if n_learned_trials != 0 and blocks:
                learned = {"n_others": n_others, "ease": ease, "orders": halves}
                made.append(LearnedTorsionKernel(blocks, n_learned_trials, **learned))
            if n_trials and self.rotatable:
                made.append(TorsionNoiseKernel([(k,) for k in self.rotatable], n_trials, orders))
            if n_all_trials and self.rotatable:
                made.append(TorsionNoiseKernel([self.rotatable], n_all_trials, name="noise on all torsions"))
            if self._fragments:
                made.append(BasinJumpKernel(self.basins, n_others))
            made += [NoiseKernel(s, 0.4 * beta**-0.5, *counts) for s in sweep.noise_scales]
            return [*made, HamiltonianKernel(0.4 * beta**-0.5, *counts)]

        if inverse_temperatures is None:
            super().__init__(internal, kernels(1.0))
        else:
            betas = inverse_temperatures_of(inverse_temperatures)
            super().__init__(internal, replica_kernels(kernels, betas, swaps), len(betas))

    @property
    def held(self):
        """Bonds about which nothing is turned."""
        return self.target.held_bonds

    @property
    def double_bonds(self):
        """Columns of the torsions about the held bonds."""
        return self.target.held

    @property
    def landscape(self):
        """Shapes of the fragments that have several, and the conformers that the search found."""
        parts = [
            Part(known.fragment.names, known.label, known.lowest.cpu().numpy(), known.free_energies.cpu().numpy())
            for known in self.basins
        ]
        if not self.conformers:
            return Landscape(parts)
        return Landscape(parts, self.conformers.x.cpu(), self.conformers.u.cpu().numpy())

    @property
    def n_inverted(self):
        """Evaluations since the run began that were rejected since a stereocentre or double bond had turned over."""
        return self.target.n_inverted

    @property
    def _frames_of(self):
        return self.target.cartesian

    def _start(self, initial, n_chains):
        state = initial_state(self.target.cartesian, initial, n_chains)
        x = self.target.coordinates.bent(state.x)
        y = self.target.from_cartesian(x)
        if not self.target.is_kept(x, y * self.target.widths).all():
            raise ValueError(
                "chains start from other stereoisomers than the positions that the sampler was made with; give one, or "
                'chirality="free", isomers="free"'
            )
        is_single = lengths_in_nm(initial).ndim == len(self._frames_of.event_shape)
        if self.starts == "conformers" and is_single and len(y) > 1 and len(self.conformers):
            y = spread_starts(self.conformers, self.basins, len(y))
        return initial_state(self.target, y)

    def describe(self):
        return super().describe() | {"starts": self.starts}

    def _reset(self):
        super()._reset()
        self.target.n_inverted = 0

    def _sweep(self, state, generator, adapt=False):
        """Torsions are lifted within a sweep, and brought back to one turn before it: nothing is tethered then."""
        return super()._sweep(dataclasses.replace(state, x=self.target.wrap(state.x)), generator, adapt)

    def _kept(self, state, generator):
        """Positions, turned at random, since the target has no preferred orientation and neither have its draws."""
        y, u = super()._kept(state, generator)
        x = self.target.to_cartesian(y)
        # Reduced potentials of frames are E/kT, without the volume element of the coordinates.
        return x @ random_rotations(len(x), generator, x), u + self.target.log_volume(y)

    def _saved(self, state, generator):
        tensors, numbers = super()._saved(state, generator)
        found = {}
        for known in self.basins:
            prefix = _prefix(self._fragments.index(known.fragment))
            found |= {prefix + name: tensor for name, tensor in known.tensors().items()}
        return tensors | {"widths": self.target.widths} | found, numbers | {"n_inverted": self.target.n_inverted}

    def _take_over(self, saved):
        """Basins as the machine that began the run found them; here rounding may lead the search to others."""
        self.basins.clear()
        for k, fragment in enumerate(self._fragments):
            prefix = _prefix(k)
            tensors = {name.removeprefix(prefix): t for name, t in saved.items() if name.startswith(prefix)}
            if tensors:
                self.basins.append(FragmentBasins.from_tensors(fragment, tensors))
        self._reset()  # what is learned of basins is of these

    def _restore(self, saved, generator):
        tensors, numbers = saved
        self.target.set_widths(tensors["widths"])  # as measured on the machine that began the run
        self.target.n_inverted = numbers["n_inverted"]
        return super()._restore(saved, generator)


def _warn_of_missing_bonds(target, x):
    pairs = missing_bonds(target.system, target.topology, x[0].cpu()) if hasattr(target, "system") else []
    if pairs:
        warnings.warn(
            f"the topology lacks {how_to_add_bonds(target.topology, pairs)}; coordinates made without them "
            "sample badly",
            MissingBondsWarning,
            stacklevel=3,
        )


def _learned_basins(target, fragments, conformers):
    if not fragments or not len(conformers):
        return []
    found = (learn_basins(target, fragment, conformers) for fragment in fragments)
    return [basins for basins in found if basins is not None]


def _prefix(k):
    """Of the names of tensors of the basins of fragment k in a checkpoint."""
    return f"basins {k} "
