"""Parts of a molecule that no rotation about a bond leads from one shape to another: rings and pyramidal nitrogens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import networkx
import torch

from .graph import neighbours
from .handedness import pyramidal_nitrogens, signed_volumes
from .rings import around_ring, ring_torsions
from .smallest_rings import ring_parts, smallest_rings

if TYPE_CHECKING:
    import mdtraj

    from .internal import InternalCoordinates

__all__ = ["StiffFragment", "stiff_fragments"]


@dataclass(frozen=True, eq=False)
class StiffFragment:
    """A ring system with the nitrogens in it, or a nitrogen with three neighbours outside of rings.

    Attributes:
        atoms: of the rings, or the nitrogen; sorted.
        rings: tuples of atoms, each once around its ring.
        centres: (n, 4) nitrogens with their three neighbours.
        columns: of the internal coordinates that place these atoms or one bonded to them, rotatable torsions left out.
        names: how reports call the atoms.
    """

    atoms: tuple[int, ...]
    rings: tuple[tuple[int, ...], ...]
    centres: torch.Tensor
    columns: tuple[int, ...]
    names: str

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Numbers between −1 and 1 that tell the shapes apart: (n, n_atoms, 3) → (n, n_features).

        Sines and cosines of the torsions around each ring, and of each nitrogen the volume that its bonds of unit
        length span, which changes its sign as the nitrogen inverts.
        """
        found = []
        for ring in self.rings:
            torsions = ring_torsions(x, ring)
            found += [torsions.sin(), torsions.cos()]
        if len(self.centres):
            arms = x[:, self.centres[:, 1:]] - x[:, self.centres[:, :1]]
            found.append(signed_volumes(x, self.centres) / arms.norm(dim=-1).prod(-1))
        return torch.cat(found, 1)


def stiff_fragments(coordinates: InternalCoordinates) -> list[StiffFragment]:
    """All of a molecule. Rings that share an atom are one fragment; most fragments have one shape only.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.coordinates import InternalCoordinates
        >>> coordinates = InternalCoordinates(load_system("alanine-dipeptide").mdtraj_topology)
        >>> [fragment.names for fragment in stiff_fragments(coordinates)]
        ['nitrogen ALA2-N', 'nitrogen NME3-N']
    """
    topology = coordinates.topology
    bonded = neighbours(topology)
    nitrogens = {row[0]: row for row in pyramidal_nitrogens(topology)}
    made = []
    for rings in _ring_systems(bonded):
        atoms = set().union(*rings)
        what = "ring" if len(rings) == 1 else "rings"
        made.append((atoms, tuple(around_ring(bonded, ring) for ring in rings), what))
    in_rings = {atom for atoms, _, _ in made for atom in atoms}
    made += [({atom}, (), "nitrogen") for atom in nitrogens if atom not in in_rings]
    return [
        StiffFragment(
            tuple(sorted(atoms)),
            rings,
            torch.tensor([nitrogens[a] for a in sorted(atoms) if a in nitrogens], dtype=torch.int64).reshape(-1, 4),
            tuple(_columns(coordinates, bonded, atoms)),
            f"{what} {'-'.join(_name(topology, a) for a in sorted(atoms)[:8])}{'…' if len(atoms) > 8 else ''}",
        )
        for atoms, rings, what in made
    ]


def _name(topology: mdtraj.Topology, atom: int) -> str:
    return topology.atom(atom).name if topology.n_residues == 1 else str(topology.atom(atom))


def _ring_systems(bonded: dict[int, set[int]]) -> Iterator[list[set[int]]]:
    """Smallest rings of each set of rings that hang together by atoms; fused, bridged and spiro rings do."""
    rings = [ring for part in ring_parts(bonded) for ring in smallest_rings(part)]
    together = networkx.Graph()
    together.add_nodes_from(range(len(rings)))
    owner = {}
    for k, ring in enumerate(rings):
        together.add_edges_from((k, owner.setdefault(atom, k)) for atom in ring)
    for system in networkx.connected_components(together):
        yield [rings[k] for k in sorted(system)]


def _columns(coordinates: InternalCoordinates, bonded: dict[int, set[int]], atoms: set[int]) -> list[int]:
    """Columns of the stiff coordinates that place an atom of the fragment, or one on it."""
    near = atoms.union(*(bonded[a] for a in atoms))
    order, centre = coordinates.z_matrix.order.tolist(), coordinates.z_matrix.centre.tolist()
    starts = ((1, 0), (2, coordinates.angles.start), (3, coordinates.torsions.start))
    found = [
        start + k - first
        for k, (i, j) in enumerate(zip(order, centre, strict=True))
        if k and i in near and j in near
        for first, start in starts
        if k >= first
    ]
    return [column for column in sorted(found) if column not in coordinates.rotatable_torsions]
