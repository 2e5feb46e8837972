"""Conformers of a molecule: snapshots of hot chains, and what RDKit embeds where there is RDKit, minimised."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations, cycle
from typing import TYPE_CHECKING

import torch

from openmm_diffsampler.coordinates.graph import neighbours
from openmm_diffsampler.coordinates.handedness import signed_volumes
from openmm_diffsampler.coordinates.rdkit_conformers import rdkit_conformers

from .kernels import HamiltonianKernel
from .minimisation import minimised
from .state import evaluate

if TYPE_CHECKING:
    from openmm_diffsampler.coordinates import InternalTarget

    from .basins import FragmentBasins

__all__ = ["N_SEARCH", "Conformers", "find_conformers", "spread_starts"]

#: Temperature of the chains over that of the target, leapfrog steps of a trajectory.
_HOT, _N_LEAPFROG = 10.0, 6
#: Trajectories before the first snapshot, and from one to the next; what a minimisation takes.
_N_FIRST, _N_BETWEEN, _N_MINIMISING = 60, 30, 60
#: Evaluations of a search, and where OpenMM evaluates one configuration after the other; snapshots of every chain.
N_SEARCH, _N_SEARCH_SLOW, _N_SNAPSHOTS = 110_000, 20_000, 4
#: Chains at least; with fewer evaluations there are fewer snapshots.
_FEWEST = 16
#: Embeddings by RDKit at most; by the square of the number of atoms, as they take time (thirty atoms: two seconds); by
#: the share of the evaluations that their minimisation takes.
_MOST_EMBEDDINGS, _EMBEDDED_ATOMS, _EMBEDDED_SHARE = 64, 50_000, 0.1
#: Atoms (nm) that are nearer than in any bond: a charge fell into another one, as hydrogens of acids do that have no
#: repulsion of their own. No chain at kT gets there, and the energy has no bottom.
_FUSED = 0.05
#: Energy (kT) above the lowest conformer up to which one is kept.
_WINDOW = 16.0
#: The same for chains to start from one.
_START_WINDOW = 10.0


@dataclass(frozen=True, eq=False)
class Conformers:
    """Minima of the reduced potential of internal coordinates, the lowest first, most of them several times over.

    Attributes:
        y: (m, 3N − 6) internal coordinates in thermal widths.
        x: (m, n_atoms, 3) the same as positions in nm.
        u: (m,) reduced potentials.
    """

    y: torch.Tensor
    x: torch.Tensor
    u: torch.Tensor

    def __len__(self) -> int:
        return len(self.u)

    def within(self, height: float) -> Conformers:
        """Those up to so many kT above the lowest."""
        inside = self.u <= self.u[:1] + height
        return Conformers(self.y[inside], self.x[inside], self.u[inside])


def find_conformers(
    target: InternalTarget, positions: torch.Tensor, n_evaluations: int | None = None, seed: int = 0
) -> Conformers:
    """Conformers up to 16 kT above the lowest one, by Hamiltonian chains at ten times kT whose snapshots are minimised.

    Where RDKit is installed and makes sense of the molecule, up to 64 of its embeddings are minimised too: it knows
    rings that hot chains do not reach.

    Stereocentres and held bonds stay as they are. So do centres whose two equal neighbours a hot chain exchanged: that
    is no new shape. What ends with two atoms in one place is left out.

    Arguments:
        target: with thermal widths.
        positions: (n, n_atoms, 3) tensor, nm, to start from.
        n_evaluations: about so many; by default 110,000, or 20,000 where the backend of the target is ``"openmm"``.
            Below 7,000 the positions alone are minimised.
        seed: of the chains and embeddings.

    Returns:
        :class:`Conformers`, those that the positions themselves lead to among them; none where u is infinite at them.
    """
    if n_evaluations is None:
        slow = getattr(target.cartesian, "backend", None) == "openmm"
        n_evaluations = _N_SEARCH_SLOW if slow else N_SEARCH
    n_chains, n_snapshots = _shared(n_evaluations)
    generator = torch.Generator(target.device).manual_seed(seed)
    start = target.from_cartesian(positions)
    state = evaluate(target, start[torch.arange(n_chains) % len(start)])
    kernel, snapshots = HamiltonianKernel(0.4 * _HOT**0.5, _N_LEAPFROG), [start]
    for k in range(n_snapshots):
        for _ in range(_N_BETWEEN if k else _N_FIRST):
            state = kernel(target, state, generator, adapt=True, inverse_temperature=1 / _HOT)
        snapshots.append(state.x)
    if n_snapshots:
        snapshots.append(_embedded(target, positions[0], int(_EMBEDDED_SHARE * n_evaluations / _N_MINIMISING), seed))
    found = minimised(target, target.wrap(torch.cat(snapshots)))
    y = target.wrap(found.x)
    x = target.to_cartesian(y)
    kept = found.u.isfinite() & _same_hands(target, positions[:1], x) & ~_is_fused(x)
    order = found.u.argsort()
    order = order[kept[order]]
    return Conformers(y[order], x[order], found.u[order]).within(_WINDOW)


def _embedded(target: InternalTarget, positions: torch.Tensor, n_at_most: int, seed: int) -> torch.Tensor:
    """Internal coordinates (m, 3N − 6) of embeddings by RDKit; none without it, or if it cannot read the molecule."""
    topology = target.coordinates.topology
    n = min(_MOST_EMBEDDINGS, _EMBEDDED_ATOMS // topology.n_atoms**2, n_at_most)
    none = target.positions.new_empty((0, len(target.coordinates))).to(target.device)
    if not n:
        return none
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # poor conformers do no harm: what stays high is left out
            x = rdkit_conformers(topology, positions.cpu(), n, seed)
    except (ImportError, ValueError, RuntimeError):
        return none
    return target.from_cartesian(target.coordinates.bent(x.to(target.device, target.dtype))) if len(x) else none


def _shared(n_evaluations: int) -> tuple[int, int]:
    """Chains, and snapshots of each, that this many evaluations pay for."""
    for n_snapshots in range(_N_SNAPSHOTS, 0, -1):
        trajectories = _N_FIRST + (n_snapshots - 1) * _N_BETWEEN
        n_chains = n_evaluations // (trajectories * _N_LEAPFROG + n_snapshots * _N_MINIMISING)
        if n_chains >= _FEWEST:
            return n_chains, n_snapshots
    return 1, 0


def spread_starts(conformers: Conformers, basins: list[FragmentBasins], n_chains: int) -> torch.Tensor:
    """Internal coordinates (n_chains, 3N − 6) to start from, up to 10 kT above the lowest conformer.

    Chains are shared evenly among the combinations of the fragments' basins; within one, conformers are drawn as often
    as they were found.

    Arguments:
        conformers: at least one.
        basins: of the molecule's fragments.
        n_chains: how many.
    """
    near = conformers.within(_START_WINDOW)
    labels = torch.stack([torch.zeros(len(near)).long(), *(known.label(near.x).cpu() for known in basins)], 1)
    _, places = labels.unique(dim=0, return_inverse=True)
    shuffled = torch.randperm(len(near), generator=torch.Generator().manual_seed(0))
    rooms = [cycle(shuffled[places[shuffled] == k].tolist()) for k in places.unique()]
    return near.y[[next(rooms[i % len(rooms)]) for i in range(n_chains)]]


def _is_fused(x: torch.Tensor) -> torch.Tensor:
    """(n,) bool: whether any two atoms are in one place."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    return ((x[:, first] - x[:, second]).norm(dim=-1) < _FUSED).any(1)


def _same_hands(target: InternalTarget, positions: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(n,) bool: whether any three neighbours of an atom with four are on the hand they have in the positions."""
    bonded = neighbours(target.coordinates.topology)
    triples = [(a, *three) for a in bonded if len(bonded[a]) == 4 for three in combinations(sorted(bonded[a]), 3)]
    centres = torch.tensor(triples, dtype=torch.int64).reshape(-1, 4)
    if target.chirality == "free" or not len(centres):
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
    hands = signed_volumes(torch.cat([positions.to(x), x]), centres).sign()
    return (hands[1:] == hands[0]).all(1)
