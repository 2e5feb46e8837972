"""Conformer levels: minima of a molecule that no symmetry makes equal, and which of them configurations belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from molecules_files import Molecule

from openmm_diffsampler.coordinates import InternalTarget, ring_torsions, saturated_rings
from openmm_diffsampler.coordinates.graph import neighbours
from openmm_diffsampler.coordinates.rdkit_conformers import rdkit_conformers
from openmm_diffsampler.mcmc.minimisation import minimised
from openmm_diffsampler.mcmc.thermal_widths import measure_widths

#: Minima are the same level if energies (kT) and all sorted distances (nm) differ by less.
SAME_ENERGY, SAME_DISTANCE = 0.1, 0.02
#: Of minimisations: steps at most, |∇u| in thermal widths.
N_STEPS, TOLERANCE = 800, 0.001
#: Configurations minimised side by side.
_BATCH = 512
#: A substituent is axial if it is gauche to the ring: below this angle in radians.
_GAUCHE = 1.6


@dataclass
class Levels:
    """Levels found so far, in the order in which they were.

    Attributes:
        internal: coordinates that minima are looked for in; their handedness and double bonds are kept.
        u: (m,) E/kT of each level.
        shapes: (m, n_pairs) sorted distances.
        x: (m, n_atoms, 3) nm, one configuration each.
    """

    internal: InternalTarget
    u: list[float] = field(default_factory=list)
    shapes: list[torch.Tensor] = field(default_factory=list)
    x: list[torch.Tensor] = field(default_factory=list)

    def label(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_atoms, 3) → (n,) numbers of levels, those of minima that are new among them; −1: no way down."""
        labels = []
        for part in x.split(_BATCH):
            y = self.internal.from_cartesian(self.internal.coordinates.bent(part.double()))
            found = minimised(self.internal, y, N_STEPS, TOLERANCE)
            u = found.u + self.internal.log_volume(found.x)
            minima = self.internal.to_cartesian(found.x)
            shapes = sorted_distances(self.internal.coordinates.topology, minima)
            labels += [self._number(*row) for row in zip(u.tolist(), shapes, minima, strict=True)]
        return torch.tensor(labels)

    def _number(self, u: float, shape: torch.Tensor, x: torch.Tensor) -> int:
        if not u < float("inf"):
            return -1
        for k, known in enumerate(self.u):
            if abs(u - known) < SAME_ENERGY and (shape - self.shapes[k]).abs().max() < SAME_DISTANCE:
                return k
        self.u.append(u)
        self.shapes.append(shape)
        self.x.append(x)
        return len(self.u) - 1


def internal_target(molecule: Molecule) -> InternalTarget:
    """Internal coordinates in thermal widths, with handedness and double bonds kept as the sampler does."""
    internal = InternalTarget(molecule.target, molecule.x)
    measure_widths(internal, internal.coordinates.bent(molecule.x[None]))
    internal.hold_isomers()
    return internal


def etkdg_levels(molecule: Molecule, n: int, seed: int) -> Levels:
    """Levels that the start and `n` conformers of RDKit lead to."""
    levels = Levels(internal_target(molecule))
    levels.label(torch.cat([molecule.x[None], rdkit_conformers(molecule.topology, molecule.x, n, seed)]))
    return levels


def sorted_distances(topology, x: torch.Tensor) -> torch.Tensor:
    """Distances (n, n_pairs) of (n, n_atoms, 3), sorted among the pairs of the same two elements."""
    elements = [atom.element.atomic_number for atom in topology.atoms]
    first, second = torch.triu_indices(len(elements), len(elements), 1)
    distances = (x[:, first] - x[:, second]).norm(dim=-1)
    kinds = torch.tensor(elements)
    kinds = torch.minimum(kinds[first], kinds[second]) * 1000 + torch.maximum(kinds[first], kinds[second])
    return torch.cat([distances[:, kinds == kind].sort(1).values for kind in kinds.unique()], 1)


def ring_words(topology, x: torch.Tensor) -> str:
    """In which form each saturated six-ring of one configuration (n_atoms, 3) is, as in "chair, axial Cl N-C"."""
    bonded, words = neighbours(topology), []
    for ring in saturated_rings(topology):
        if len(ring) != 6:
            continue
        torsions = ring_torsions(x[None], ring)[0]
        if not ((torsions[::2] > 0).all() and (torsions[1::2] < 0).all()) and not (
            (torsions[::2] < 0).all() and (torsions[1::2] > 0).all()
        ):
            words.append("boat")
            continue
        axial = []
        for k, a in enumerate(ring):
            for b in sorted(bonded[a] - set(ring)):
                if topology.atom(b).element.symbol != "H":
                    along = [b, a, ring[(k + 1) % 6], ring[(k + 2) % 6]]
                    if ring_torsions(x[None], along)[0, 0].abs() < _GAUCHE:
                        axial.append(f"{topology.atom(b).element.symbol} on {topology.atom(a).element.symbol}")
        words.append(" ".join(["chair", *(["axial", *axial] if axial else [])]))
    return ", ".join(words)
