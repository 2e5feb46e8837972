"""The torsions of a molecule by name, with their angles in every frame and the wells that these lie in."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openmm_diffsampler.coordinates import rotatable_torsions
from openmm_diffsampler.coordinates.graph import equal_branches, neighbours, refined_colours

from .dihedrals import dihedral_angles, in_space
from .torsion_wells import TorsionWells, find_wells

__all__ = ["MoleculeTorsion", "backbone_torsions", "molecule_torsions"]

#: Distance from the plane of the neighbours in nm; vibrations stay below, pyramids above.
_PLANAR = 0.015


@dataclass(frozen=True, eq=False)
class MoleculeTorsion:
    """A torsion, its angles and its wells; see :func:`molecule_torsions`.

    Attributes:
        name: "phi", "psi:2", or the names of the four atoms with their residues.
        atoms: four atom indices.
        order: turns by 360°/order make the same conformer, by a symmetric group at an end of the bond (3 for methyl,
            ammonium, CF₃, tert-butyl; 2 for carboxylate, nitro, phenyl; 6 where both meet); else 1.
        angles: (n_frames,) in degrees, in [−180, 180).
        wells: TorsionWells of the weighted frames.
    """

    name: str
    atoms: tuple
    order: int
    angles: np.ndarray
    wells: TorsionWells

    @property
    def symmetric(self):
        """Whether some of the wells are the same conformer."""
        return self.order > 1

    @cached_property
    def state(self):
        """(n_frames,) integers, the well that each frame is in."""
        return self.wells.assign(self.angles)


def molecule_torsions(wt):
    """Backbone φ and ψ by name, then one torsion for every other rotatable bond; angles are computed once for all.

    Arguments:
        wt: a WeightedTrajectory.

    Returns:
        list of MoleculeTorsion; empty without topology, or for a molecule without rotatable bonds.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(10, 4, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> torsions = molecule_torsions(WeightedTrajectory.from_chains(x, topology=topology))
        >>> [torsion.name for torsion in torsions if not torsion.symmetric]
        ['phi', 'psi', 'CH3-C-N-CA (ACE1-ALA2)', 'CA-C-N-C (ALA2-NME3)']
    """
    if wt.topology is None:
        return []
    named = backbone_torsions(wt.topology)
    bonds = {frozenset(atoms[1:3]) for atoms in named.values()}
    others = [atoms for atoms in rotatable_torsions(wt.topology) if frozenset(atoms[1:3]) not in bonds]
    torsions = named | dict(zip(_names(wt.topology, others), others, strict=True))
    if not torsions:
        return []
    angles = (np.degrees(dihedral_angles(wt, list(torsions.values()))) + 180) % 360 - 180
    weights = wt.weights.numpy()
    n_frames = len(wt) if wt.kind == "mcmc" else wt.effective_sample_size
    # Planarity needs few frames.
    x = in_space(wt.x[:: max(1, len(wt) // 200)])
    bonded = neighbours(wt.topology)
    classes = refined_colours(wt.topology)
    return [
        MoleculeTorsion(
            name=name,
            atoms=tuple(int(i) for i in atoms),
            order=1 if name in named else _order(bonded, classes, x, *atoms[1:3]),
            angles=column,
            wells=find_wells(column, weights, n_frames, named=name not in named),
        )
        for (name, atoms), column in zip(torsions.items(), angles.T, strict=True)
    ]


def backbone_torsions(topology):
    """dict of "phi" and "psi" (or "phi:1", "phi:2", ... of several) → four atom indices.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> backbone_torsions(load_system("alanine-dipeptide").mdtraj_topology)
        {'phi': (4, 6, 8, 14), 'psi': (6, 8, 14, 16)}
    """
    from mdtraj.geometry import dihedral

    named = {}
    for name, indices in (("phi", dihedral.indices_phi), ("psi", dihedral.indices_psi)):
        rows = [tuple(int(i) for i in row) for row in indices(topology)]
        named |= {name if len(rows) == 1 else f"{name}:{i}": row for i, row in enumerate(rows, 1)}
    return named


def _names(topology, torsions):
    """Names of the four atoms, with the residues of the bond where there are several, and indices if still alike."""
    names = []
    for atoms in torsions:
        a, b, c, d = (topology.atom(i) for i in atoms)
        residues = dict.fromkeys(f"{atom.residue.name}{atom.residue.resSeq}" for atom in (b, c))
        where = f" ({'-'.join(residues)})" if topology.n_residues > 1 else ""
        names.append("-".join(atom.name for atom in (a, b, c, d)) + where)
    alike = {name for name in names if names.count(name) > 1}
    return [
        name + f" [{'-'.join(map(str, atoms))}]" if name in alike else name
        for name, atoms in zip(names, torsions, strict=True)
    ]


def _order(bonded, classes, x, j, k):
    return math.lcm(
        *(
            len(branches)
            for end, other, branches in equal_branches(bonded, classes, j, k)
            if len(branches) == 3 or (len(branches) == 2 and _is_planar(x, end, [other, *branches]))
        )
    )


def _is_planar(x, centre, around):
    """Whether an atom is in the plane of its three neighbours, as in a phenyl and unlike in an amine (0.03 nm off)."""
    a, b, c = (x[:, i] - x[:, centre] for i in around)
    normal = np.cross(b - a, c - a)
    distance = np.abs((a * normal).sum(1)) / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
    return bool(np.median(distance) < _PLANAR)
