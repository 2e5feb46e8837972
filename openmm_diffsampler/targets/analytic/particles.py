"""Densities of particles without a force field: pair energies evaluated fast, and a topology for their trajectories."""

from functools import cached_property

import numpy as np

from ..backends.kernel import KernelBackend
from ..base import Target
from ..terms.custom import body_term
from ..terms.table import TermTable

__all__ = ["PairwiseTarget", "particle_topology"]


class PairwiseTarget(Target):
    """Particles whose reduced potential is a sum over pairs of a function of their distance.

    On a CPU the compiled kernel evaluates it, and second derivatives are differences of its scores (relative error
    about 1e-9); elsewhere the subclass does, in torch operations.

    Arguments:
        n_particles, n_dimensions: shape of a configuration.
        pair_energy: u(r) of a pair, in the expression language of OpenMM.
        name, dtype, device: as for every target.
    """

    def __init__(self, n_particles, n_dimensions, pair_energy, *, name, dtype, device):
        shape = (n_particles, n_dimensions)
        super().__init__(shape, name=name, translation_invariant=True, dtype=dtype, device=device)
        self.pair_energy = pair_energy

    def _parameters(self):
        return {"density": self.pair_energy}

    @cached_property
    def topology(self):
        """The particles as an mdtraj Topology."""
        return particle_topology(self.event_shape[0])

    @cached_property
    def _kernel(self):
        n_particles, n_dimensions = self.event_shape
        pairs = np.stack(np.triu_indices(n_particles, 1), 1)
        none = np.empty((len(pairs), 0))
        term = body_term("distance", pairs, self.pair_energy, [], none, source=type(self).__name__)
        return KernelBackend(TermTable(n_particles, [term]), dtype=self.dtype, n_dimensions=n_dimensions)

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_kernel"}  # which lives in this process

    def _evaluate_guarded(self, x):
        if self.device.type != "cpu":
            return super()._evaluate_guarded(x)
        return self._from_kernel(self._kernel, x)

    def _score_vjp(self, x, v):
        return self._kernel.force_vjp(x, v) if self.device.type == "cpu" else super()._score_vjp(x, v)


def particle_topology(n_particles):
    """One chain, one residue, `n_particles` argon atoms named Ar1, Ar2, …, no bonds: an mdtraj Topology.

    Example:
        >>> particle_topology(4)  # doctest: +ELLIPSIS
        <mdtraj.Topology with 1 chains, 1 residues, 4 atoms, 0 bonds at ...>
    """
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("CLU", topology.add_chain())
    for i in range(n_particles):
        topology.add_atom(f"Ar{i + 1}", mdtraj.element.argon, residue)
    return topology
