"""Free energies over two torsions, and populations of conformational basins."""

from dataclasses import dataclass

import numpy as np

from openmm_diffsampler.targets.units import thermal_energy

from .dihedrals import dihedral_angles
from .estimates import variance_weights
from .populations import population

__all__ = [
    "ALANINE_DIPEPTIDE_BASINS",
    "FreeEnergySurface",
    "basin_populations",
    "free_energy_surface",
    "torsion_angles",
]

#: Basins of the (φ, ψ) plane as boxes ((φ from, to), (ψ from, to)) in degrees; from > to passes ±180. They tile it.
ALANINE_DIPEPTIDE_BASINS = {
    "C5 (beta)": [((130, -110), (50, -120))],
    "C7eq (PPII)": [((-110, 0), (50, -120))],
    "alpha_R": [((130, 0), (-120, 50))],
    "alpha_L": [((0, 130), (0, 180))],
    "C7ax": [((0, 130), (-180, 0))],
}


@dataclass(frozen=True, eq=False)
class FreeEnergySurface:
    """Probability and free energy on a periodic grid of two torsions; see :func:`free_energy_surface`.

    Attributes:
        probability: (bins, bins), first axis the first torsion; sums to one.
        free_energy: (bins, bins) −kT ln p in kJ/mol, with minimum 0, and +inf in empty bins.
        standard_error: (bins, bins) of `probability`, or None for a single chain.
        edges_a, edges_b: (bins + 1,) in degrees from −180 to 180.
        label_a, label_b: what the axes are called.
        temperature: openmm Quantity.
        description: how many frames the surface is from, and their effective sample size.
        effective_sample_size: that of the trajectory.
    """

    probability: np.ndarray
    free_energy: np.ndarray
    standard_error: np.ndarray | None
    edges_a: np.ndarray
    edges_b: np.ndarray
    label_a: str
    label_b: str
    temperature: object
    description: str
    effective_sample_size: float

    @property
    def free_energy_standard_error(self):
        """(bins, bins) kT·SE(p)/p in kJ/mol (delta method), NaN in empty bins; None where `standard_error` is.

        It is about kT in a bin with a single frame, and an underestimate there: read bins near kT as unknown.
        """
        if self.standard_error is None:
            return None
        filled = self.probability > 0
        relative = np.divide(self.standard_error, self.probability, where=filled, out=np.full(filled.shape, np.nan))
        return thermal_energy(self.temperature) * relative

    def total_variation(self, other):
        """½ Σ|p − q| between 0 (same) and 1 (disjoint), to another surface or array of probabilities on this grid.

        Raises:
            ValueError: another grid, or probabilities that do not sum to one.
        """
        q = np.asarray(getattr(other, "probability", other))
        if q.shape != self.probability.shape:
            raise ValueError(f"the other surface has shape {q.shape} and this one {self.probability.shape}")
        if not np.isclose(q.sum(), 1, atol=1e-6) or (q < 0).any():
            raise ValueError(
                f"the other surface is no probability: it sums to {q.sum():.6g}, with minimum {q.min():.3g}"
            )
        return float(0.5 * np.abs(self.probability - q).sum())


def torsion_angles(wt, torsion):
    """Torsion angle of every frame in degrees, in [−180, 180).

    Arguments:
        wt: a WeightedTrajectory with topology.
        torsion: "phi", "psi", "omega" or "chi1" for the first residue that has it, "phi:2" for the second; or four atom
            indices.

    Returns:
        (n_frames,) float64 array.

    Raises:
        TypeError: there is no topology.
        ValueError: the molecule has no such torsion.
    """
    if wt.topology is None:
        raise TypeError("there is no topology, so no torsions; use .x for the coordinates")
    indices = _torsion_indices(wt.topology, torsion)
    return _wrap(np.degrees(dihedral_angles(wt, [indices])[:, 0]))


def free_energy_surface(wt, a="phi", b="psi", bins=60, temperature=None):
    r"""F(a, b) = −kT ln p(a, b) over two torsions, from a weighted periodic histogram.

    The standard error of p in a bin comes from the weights, √(Σ v_i (1_i − p)²), for importance samples and resampled
    frames, and from the variance between the histograms of the chains for MCMC. A single chain gives none.

    Arguments:
        wt: a WeightedTrajectory with topology.
        a, b: torsions, by name or as four atom indices; see :func:`torsion_angles`.
        bins: number of bins an axis.
        temperature: openmm Quantity; by default that of the trajectory.

    Raises:
        TypeError: no topology, or a temperature without unit.
        ValueError: no such torsion, no temperature, or less than one bin.

    Example:
        >>> import mdtraj as md, torch
        >>> from openmm import unit
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> top = md.Topology()
        >>> residue = top.add_residue("BUT", top.add_chain())
        >>> atoms = [top.add_atom(f"C{i}", md.element.carbon, residue) for i in range(4)]
        >>> x = torch.randn(100, 4, 3, generator=torch.Generator().manual_seed(0))
        >>> wt = WeightedTrajectory(x, torch.zeros(100), kind="importance", topology=top, temperature=300 * unit.kelvin)
        >>> surface = wt.free_energy_surface((0, 1, 2, 3), (3, 2, 1, 0), bins=12)
        >>> surface.probability.shape, float(surface.free_energy.min())
        ((12, 12), 0.0)
    """
    temperature = wt.temperature if temperature is None else temperature
    if temperature is None:
        raise ValueError("the trajectory has no temperature; pass temperature=, such as 300 * openmm.unit.kelvin")
    thermal = thermal_energy(temperature)
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins is {bins!r}; give a positive integer")
    cells = [np.floor((torsion_angles(wt, t) + 180) * (bins / 360)).astype(int) % bins for t in (a, b)]
    cell = cells[0] * bins + cells[1]

    def histogram(weights, rows=slice(None)):
        return np.bincount(cell[rows], weights=weights, minlength=bins**2).reshape(bins, bins)

    probability = histogram(wt.weights.numpy())
    probability /= probability.sum()
    with np.errstate(divide="ignore"):
        free_energy = -thermal * np.log(probability)
    edges = np.linspace(-180, 180, bins + 1)
    return FreeEnergySurface(
        probability=probability,
        free_energy=free_energy - free_energy.min(),
        standard_error=_standard_error(wt, probability, histogram),
        edges_a=edges,
        edges_b=edges.copy(),
        label_a=_label(a),
        label_b=_label(b),
        temperature=temperature,
        description=wt.describe(),
        effective_sample_size=wt.effective_sample_size,
    )


def basin_populations(wt, a="phi", b="psi", basins=None):
    """Probability of each basin with its standard error.

    Arguments:
        wt: a WeightedTrajectory with topology.
        a, b: torsions, by name or as four atom indices; see :func:`torsion_angles`.
        basins: dict of name → list of boxes ``((a_from, a_to), (b_from, b_to))`` in degrees, from included and to
            excluded; from > to passes ±180. By default :data:`ALANINE_DIPEPTIDE_BASINS`.

    Returns:
        dict of name → Estimate. They sum to one where the boxes tile the plane. The standard error is NaN for a basin
        that no frame is in, or all are; :func:`~openmm_diffsampler.analysis.unvisited_bound` bounds its population.

    Raises:
        TypeError, ValueError: as :func:`torsion_angles`; a box that leaves [−180, 180] or is empty.
    """
    basins = ALANINE_DIPEPTIDE_BASINS if basins is None else basins
    angles = torsion_angles(wt, a), torsion_angles(wt, b)
    populations = {}
    for name, boxes in basins.items():
        inside = np.zeros(len(wt), dtype=bool)
        for box in boxes:
            inside |= _inside(angles[0], *box[0], name) & _inside(angles[1], *box[1], name)
        populations[name] = population(wt, inside)
    return populations


def _inside(angle, low, high, name):
    if not (-180 <= low <= 180 and -180 <= high <= 180) or low == high:
        raise ValueError(
            f"basin {name!r} has the range ({low}, {high}); give two different angles in [-180, 180] degrees"
        )
    return (low <= angle) & (angle < high) if low < high else (low <= angle) | (angle < high)


def _standard_error(wt, probability, histogram):
    if wt.kind != "mcmc":
        v = variance_weights(wt)
        # Σ v (1 − p)² over frames in the bin and Σ v p² over the others.
        return np.sqrt(np.maximum(histogram(v) * (1 - 2 * probability) + v.sum() * probability**2, 0))
    _, which, lengths = np.unique(wt.chain.numpy(), return_inverse=True, return_counts=True)
    n_chains = len(lengths)
    if n_chains == 1:
        return None
    share = lengths / lengths.sum()
    variance = sum(
        share[c] ** 2 * (histogram(np.full(lengths[c], 1 / lengths[c]), which == c) - probability) ** 2
        for c in range(n_chains)
    )
    return np.sqrt(variance * n_chains / (n_chains - 1))


def _torsion_indices(topology, torsion):
    from mdtraj.geometry import dihedral

    if not isinstance(torsion, str):
        indices = [int(i) for i in torsion]
        if len(indices) != 4 or len(set(indices)) != 4 or not 0 <= min(indices) <= max(indices) < topology.n_atoms:
            raise ValueError(
                f"torsion is {torsion}; give four different atom indices below {topology.n_atoms}, or a name"
            )
        return indices
    found = {
        name: getattr(dihedral, f"indices_{name}")(topology)
        for name in ("phi", "psi", "omega", "chi1", "chi2", "chi3", "chi4")
    }
    name, _, number = torsion.partition(":")
    number = int(number) if number.isdigit() else (1 if not number else 0)
    if name not in found or not 1 <= number <= len(found[name]):
        names = [f"{key}:{i}" if i > 1 else key for key, rows in found.items() for i in range(1, len(rows) + 1)]
        existing = ", ".join(names) or "no named torsions, so give four atom indices"
        raise ValueError(f"there is no torsion {torsion!r}; this molecule has {existing}")
    return [int(i) for i in found[name][number - 1]]


def _label(torsion):
    return torsion if isinstance(torsion, str) else "-".join(str(int(i)) for i in torsion)


def _wrap(angle):
    wrapped = (angle + 180) % 360 - 180
    # The remainder of a tiny negative number rounds up to 360.
    return np.where(wrapped >= 180, -180.0, wrapped)
