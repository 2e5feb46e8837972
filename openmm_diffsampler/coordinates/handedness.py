"""Stereocentres, and on which hand they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from .graph import neighbours, reachable, refined_colours

if TYPE_CHECKING:
    import mdtraj

__all__ = ["Handedness", "pyramidal_nitrogens", "signed_volumes", "stereocentres"]

#: Elements whose three neighbours and lone pair do not turn inside out.
_PYRAMIDAL = ("S", "P", "Se", "As")
#: Volumes (nm³) below which a centre is flat and on no hand; a carbon has about 0.002.
_FLAT = 1e-4


def stereocentres(topology):
    """Atoms with four neighbours (three: sulphur, phosphorus) of which no two can be exchanged, with three of them.

    Two neighbours can be exchanged if the bond graph with its elements looks the same from both (colour refinement)
    and no ring joins them: a ring atom's two neighbours in the ring tell its faces apart, as in cis and trans.
    Mirroring any other centre merely renames equal atoms, except where neighbours differ by their own handedness alone:
    such centres are not found.

    Arguments:
        topology: an mdtraj Topology with bonds.

    Returns:
        list of (centre, a, b, c), atom indices.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> stereocentres(load_system("alanine-dipeptide").mdtraj_topology)
        [(8, 6, 9, 10)]
    """
    symbols = {atom.index: getattr(atom.element, "symbol", "") for atom in topology.atoms}
    return [
        (centre, *around[:3])
        for centre, around in _centres_of_distinct(topology)
        if len(around) == 4 or (len(around) == 3 and symbols[centre] in _PYRAMIDAL)
    ]


def pyramidal_nitrogens(topology: mdtraj.Topology) -> list[tuple[int, int, int, int]]:
    """Nitrogens with three neighbours of which no two can be exchanged, with these: their inversion is no rotation.

    Whether they are pyramidal is for the force field to say; those of amides are flat.

    Arguments:
        topology: an mdtraj Topology with bonds.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> pyramidal_nitrogens(load_system("alanine-dipeptide").mdtraj_topology)
        [(6, 4, 7, 8), (16, 14, 17, 18)]
    """
    symbols = {atom.index: getattr(atom.element, "symbol", "") for atom in topology.atoms}
    return [
        (centre, *around)
        for centre, around in _centres_of_distinct(topology)
        if len(around) == 3 and symbols[centre] == "N"
    ]


def _centres_of_distinct(topology: mdtraj.Topology) -> Iterator[tuple[int, list[int]]]:
    """Atoms with their neighbours, in order, of which no two can be exchanged."""
    bonded = neighbours(topology)
    colours = refined_colours(topology)

    def exchangeable(a: int, b: int, centre: int) -> bool:
        return colours[a] == colours[b] and b not in reachable({**bonded, centre: set()}, a, centre)

    for centre, around in sorted(bonded.items()):
        if not any(exchangeable(a, b, centre) for a, b in combinations(sorted(around), 2)):
            yield centre, sorted(around)


def signed_volumes(x, centres):
    """Volumes that three neighbours span at each centre: x (n, n_atoms, 3), centres (m, 4) → (n, m)."""
    return torch.linalg.det(x[:, centres[:, 1:]] - x[:, centres[:, :1]])


class Handedness:
    r"""The signs of (a − c)·[(b − c) × (d − c)] at each stereocentre c with neighbours a, b, d.

    Arguments:
        topology: an mdtraj Topology with bonds.
        positions: (n_atoms, 3) tensor of a configuration with the wanted handedness.

    Raises:
        ValueError: a stereocentre is flat in the positions.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> x = torch.as_tensor(molecule.positions._value)
        >>> handedness = Handedness(molecule.mdtraj_topology, x)
        >>> handedness.is_kept(torch.stack([x, -x])).tolist()
        [True, False]
    """

    def __init__(self, topology, positions):
        self.centres = torch.tensor(stereocentres(topology), dtype=torch.int64).reshape(-1, 4)
        volumes = signed_volumes(positions[None], self.centres)[0]
        flat = self.centres[:, 0][volumes.abs() < _FLAT].tolist()
        if flat:
            names = ", ".join(str(topology.atom(i)) for i in flat)
            raise ValueError(f"stereocentres {names} are flat in the positions, on neither hand; minimise them first")
        self.signs = volumes.sign()

    def __len__(self):
        return len(self.centres)

    def is_kept(self, x):
        """(n, n_atoms, 3) → (n,) bool: whether all stereocentres have the wanted signs."""
        if not len(self):
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        return (signed_volumes(x, self.centres) * self.signs.to(x) > 0).all(1)
