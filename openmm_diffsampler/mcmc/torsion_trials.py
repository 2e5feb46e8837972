"""Torsion noise on one configuration in an OpenMM Context: rotations about bonds, tried one at a time."""

from math import cos, hypot, isfinite, sin

import mdtraj
import numpy as np
from openmm import app, unit

from openmm_diffsampler.coordinates import BondRotations
from openmm_diffsampler.coordinates.graph import component, neighbours, reachable

__all__ = ["TorsionTrials", "torsion_trials"]

#: What is counted; the names are those of noise levels, which have trajectories as well.
_COUNTS = ("guesses", "accepted_guesses", "nonfinite")


def torsion_trials(topology, torsion_scale, n_torsion_trials=None, n_at_most=None):
    """The :class:`TorsionTrials` that a user's arguments ask for, or None where `torsion_scale` is None.

    Arguments:
        topology: openmm.app or mdtraj Topology with bonds.
        torsion_scale: a Quantity or radians.
        n_torsion_trials: trials a sweep. By default one for each rotatable bond, `n_at_most` of them.

    Raises:
        TypeError: another kind of topology, or a unit that is no angle.
        ValueError: one argument without the other, values out of range, no rotatable bonds.
    """
    if torsion_scale is None:
        for name, value in (("topology", topology), ("n_torsion_trials", n_torsion_trials)):
            if value is not None:
                raise ValueError(f"{name} is for torsion noise alone; give torsion_scale as well, for example 1.5")
        return None
    if topology is None:
        raise ValueError("torsion_scale needs the bonds of the molecule; give topology as well")
    if isinstance(topology, app.Topology):
        topology = mdtraj.Topology.from_openmm(topology)
    if not isinstance(topology, mdtraj.Topology):
        raise TypeError(f"topology is a {type(topology).__name__}; give an openmm.app or mdtraj Topology")
    if unit.is_quantity(torsion_scale):
        if not torsion_scale.unit.is_compatible(unit.radian):
            raise TypeError(f"torsion_scale is in {torsion_scale.unit}, which is no angle; give radians")
        torsion_scale = torsion_scale.value_in_unit(unit.radian)
    axes = BondRotations(topology).axes.tolist()
    if n_torsion_trials is None:
        n_torsion_trials = min(len(axes), n_at_most or len(axes))
    bonded = neighbours(topology)
    molecules = set().union(*(component(bonded, pivot) for _, pivot in axes))  # solvent has nothing to turn about
    bonds = [[i, j] for i in sorted(molecules) for j in sorted(bonded[i]) if i < j]
    return TorsionTrials(torsion_scale, n_torsion_trials, topology.n_atoms, bonds, axes)


class TorsionTrials:
    r"""Metropolis trials of rotations: a bond at random turns by √2·s·N(0, 1), as by noise s and a guess back by s.

    A rotation has unit Jacobian, and its opposite is as likely, so that it is accepted with

    .. math:: \min(1, e^{(U(x) - U(x'))/kT}) .

    Everything that is needed to make it again is in plain numbers, which a YAML file can hold.

    Arguments:
        scale: s in radians.
        n_trials: rotations tried a sweep.
        n_atoms: of the whole System.
        bonds: pairs of atoms, of every molecule that has a rotatable bond.
        axes: pairs of atoms, of the rotatable bonds; what is beyond the second one turns.

    Raises:
        ValueError: a scale that is not positive and finite, no trials.

    Example:
        >>> trials = TorsionTrials(1.5, 1, 4, bonds=[[0, 1], [1, 2], [2, 3]], axes=[[1, 2]])
        >>> x = np.array([[0.1, 0.1, 0], [0, 0, 0], [0, 0, 0.1], [0.1, 0, 0.2]])
        >>> trials.turn(x, trials.turns[0], np.pi / 2).round(3)[3]
        array([0. , 0.1, 0.2])
    """

    def __init__(self, scale, n_trials, n_atoms, bonds, axes):
        if isinstance(scale, bool) or not (isfinite(scale) and scale > 0):
            raise ValueError(f"torsion_scale is {scale}; it must be positive and finite, in radians")
        if isinstance(n_trials, bool) or n_trials != int(n_trials) or n_trials < 1:
            raise ValueError(f"n_torsion_trials is {n_trials}; it must be a whole number of at least 1")
        self.scale, self.n_trials, self.n_atoms = float(scale), int(n_trials), int(n_atoms)
        self.bonds, self.axes = bonds, axes
        bonded = {i: set() for bond in bonds for i in bond}
        for i, j in bonds:
            bonded[i].add(j)
            bonded[j].add(i)
        #: Of each rotatable bond: its fixed end, its pivot, and what turns.
        self.turns = [(i, j, np.array(sorted(reachable(bonded, j, i) - {j}))) for i, j in axes]
        self._free_turns = {frozenset(): self.turns}

    def numbers(self):
        """The arguments of a :class:`TorsionTrials` like this one, as numbers and lists of its own."""
        lists = {name: [list(pair) for pair in getattr(self, name)] for name in ("bonds", "axes")}
        return {"scale": self.scale, "n_trials": self.n_trials, "n_atoms": self.n_atoms, **lists}

    @property
    def name(self):
        """What reports call the level."""
        return f"torsion noise {self.scale:.3g} rad"

    def no_counts(self):
        """Zeros, of what is counted."""
        return dict.fromkeys(_COUNTS, 0)

    def row(self, counts):
        """One row of the acceptance table."""
        rate = counts["accepted_guesses"] / max(counts["guesses"], 1)
        return {"level": self.name, "guess acceptance": rate, **counts}

    def free_turns(self, massless):
        """The turns that move no particle of mass zero, which stays where it is.

        Arguments:
            massless: frozenset of the particles of mass zero.

        Raises:
            ValueError: no turn is free.
        """
        if massless not in self._free_turns:
            free = [turn for turn in self.turns if massless.isdisjoint(turn[2].tolist())]
            if not free:
                raise ValueError("every rotation would move a particle of mass zero; leave torsion_scale out")
            self._free_turns[massless] = free
        return self._free_turns[massless]

    def prepare(self, context, seed):
        """Raise unless the trials can be made in `context`, and give it random numbers if it has none.

        As OpenMM's own, the random numbers belong to the context and go on from move to move. Chains that run in it
        one after the other, as replicas do, so never get the same ones.

        Arguments:
            context: openmm Context, which keeps what it gets as attributes of its integrator.
            seed: of a new context's random numbers, or None for entropy of the operating system.

        Raises:
            ValueError: a System of another number of particles, or one that leaves nothing to turn.
        """
        system, integrator = context.getSystem(), context.getIntegrator()
        n = system.getNumParticles()
        if n != self.n_atoms:
            raise ValueError(f"the topology has {self.n_atoms} atoms and the System {n} particles; give its own")
        if not hasattr(integrator, "_torsion_generator"):
            integrator._torsion_generator = np.random.default_rng(seed)
            integrator._massless = frozenset(i for i in range(n) if not system.getParticleMass(i)._value)
        self.free_turns(integrator._massless)

    def sweep(self, context, kt, n_sweeps):
        """Make sweeps in `context`, each followed by its trials, and return the integrator's statistics with ours.

        Arguments:
            context: openmm Context that :meth:`prepare` has seen.
            kt: kT in kJ/mol.
            n_sweeps: steps of its :class:`~openmm_diffsampler.mcmc.integrator.DiffusiveGibbsIntegrator`.
        """
        integrator, counts = context.getIntegrator(), self.no_counts()
        for _ in range(n_sweeps):
            integrator.step(1)
            self._try(context, kt, counts)
        made = integrator.statistics()
        made["evaluations"] += counts["guesses"] + n_sweeps  # a sweep's first trial needs the energy to start from
        made["levels"].append(self.row(counts))
        return made

    def _try(self, context, kt, counts):
        """Trials of one sweep; the context is left at the last accepted configuration."""
        integrator = context.getIntegrator()
        turns, generator = self.free_turns(integrator._massless), integrator._torsion_generator
        state = context.getState(positions=True, energy=True)
        x, energy = state.getPositions(asNumpy=True)._value, _energy(state)
        bonds = generator.integers(len(turns), size=self.n_trials).tolist()
        angles = (2**0.5 * self.scale * generator.standard_normal(self.n_trials)).tolist()
        rises = (kt * generator.standard_exponential(self.n_trials)).tolist()  # −kT log(uniform)
        is_accepted = True
        for bond, angle, rise in zip(bonds, angles, rises, strict=True):
            turned = self.turn(x, turns[bond], angle)
            context.setPositions(turned)
            proposed = _energy(context.getState(energy=True))
            is_finite = isfinite(proposed)
            is_accepted = is_finite and proposed - energy <= rise
            if is_accepted:
                x, energy = turned, proposed
            counts["accepted_guesses"] += is_accepted
            counts["nonfinite"] += not is_finite
        counts["guesses"] += self.n_trials
        if not is_accepted:
            context.setPositions(x)

    @staticmethod
    def turn(x, turn, angle):
        """The configuration x (n_atoms, 3) with one of the turns made, by `angle` radians, as a new array."""
        fixed, pivot, moving = turn
        origin = x[pivot]
        a, b, c = (origin - x[fixed]).tolist()
        length = hypot(a, b, c)
        if not length:  # ends in one place give no axis
            return x.copy()
        a, b, c = a / length, b / length, c / length
        cosine, sine = cos(angle), sin(angle)
        p, q, r = (1 - cosine) * a, (1 - cosine) * b, (1 - cosine) * c
        rotation = np.array(  # of row vectors
            [
                [cosine + p * a, p * b + sine * c, p * c - sine * b],
                [q * a - sine * c, cosine + q * b, q * c + sine * a],
                [r * a + sine * b, r * b - sine * a, cosine + r * c],
            ]
        )
        turned = x.copy()
        turned[moving] = (x[moving] - origin) @ rotation + origin
        return turned


def _energy(state):
    return state.getPotentialEnergy()._value
