"""A molecule whose modes are wells of torsions, and how a run of it is judged."""

import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import mdtraj
import numpy as np
import torch
from mcmc_scores import floor, mean_and_spread, mean_and_worst, total_variation

from openmm_diffsampler.analysis import chains_as_array, effective_sample_size

REFERENCES = Path(__file__).parent / "references"
#: Bins of each torsion, from −180 degrees.
BINS = 24
#: A mode is one to be found from this population on.
POPULATED = 0.01


class Reference(NamedTuple):
    """Probabilities that runs are compared with.

    Attributes:
        pairs: (n_pairs, BINS, BINS).
        basins: (n_basins,) populations.
        rare: population of the well of interest and its standard error, or None.
        n_effective: independent draws that it is made of, infinite if exact.
    """

    pairs: np.ndarray
    basins: np.ndarray
    rare: tuple | None
    n_effective: float


class TorsionProblem:
    """A molecule whose modes are wells of torsions.

    Arguments:
        target: OpenMMTarget with topology.
        start: configuration of all chains, (n_atoms, 3).
        torsions: name → four atom indices.
        pairs: pairs of names, whose joint histograms are compared.
        cuts: name → angles in degrees, ascending, between wells: well k lies between cut k and cut k + 1, the last one
            reaches round to the first cut.
        basins: name → boxes over the first pair, as ALANINE_DIPEPTIDE_BASINS; by default all combinations of wells.
        rare: (name of a torsion, number of the well, what to call it) whose population is reported, or None.
        dynamics: for Langevin dynamics.
        exact: a function of this problem that makes its reference, or None to read it from a file.
    """

    #: Whether torsions make sense.
    has_bonds = True
    #: α_L and C7ax, which the rare well of alanine dipeptide consists of.
    rare_basins = (3, 4)

    def __init__(self, target, start, torsions, pairs, cuts, *, dynamics, basins=None, rare=None, exact=None):
        self.target, self.torsions, self.pairs, self.cuts = target, torsions, pairs, cuts
        self.name, self.boxes, self.rare, self.dynamics = target.name, basins, rare, dynamics
        self.names = list(torsions)
        self._start = target.project(torch.as_tensor(np.asarray(start), dtype=target.dtype))
        self.n_basins = len(basins) if basins else math.prod(map(len, cuts.values()))
        self.exact = None if exact is None else exact(self)

    @property
    def needs_reference(self):
        """Whether it takes a run to have one."""
        return self.exact is None

    @property
    def reference_file(self):
        return REFERENCES / f"{self.name}.npz"

    def start(self, seed):
        return self._start

    def angles(self, wt):
        """name → (n_frames,) degrees."""
        found = mdtraj.compute_dihedrals(wt.trajectory, list(self.torsions.values()), periodic=False)
        return dict(zip(self.names, np.degrees(found.astype(float)).T, strict=True))

    def wells(self, angles, name):
        return (np.searchsorted(self.cuts[name], angles[name]) - 1) % len(self.cuts[name])

    def basin(self, angles):
        """Number of the basin of each frame."""
        if self.boxes is None:
            label = 0
            for name, cuts in self.cuts.items():
                label = label * len(cuts) + self.wells(angles, name)
            return label
        a, b = (angles[name] for name in self.pairs[0])
        label = np.zeros(len(a), int)
        for k, boxes in enumerate(self.boxes.values()):
            for box in boxes:
                label[_within(a, *box[0]) & _within(b, *box[1])] = k
        return label

    def cores(self, angles, name):
        """Number of the well in whose middle half a frame lies, −1 outside."""
        cuts = self.cuts[name]
        label = np.full(len(angles[name]), -1)
        for k, low in enumerate(cuts):
            width = (cuts[(k + 1) % len(cuts)] - low) % 360
            label[_within(angles[name], low + width / 4, low + 3 * width / 4)] = k
        return label

    def histogram(self, angles, pair):
        cells = [np.floor((angles[name] + 180) * BINS / 360).astype(int) % BINS for name in pair]
        return np.bincount(cells[0] * BINS + cells[1], minlength=BINS**2)

    def measure(self, wt):
        angles = self.angles(wt)
        by_chain = partial(chains_as_array, chain=wt.chain, draw=wt.draw)
        ess = {
            f"{f.__name__} {name}": effective_sample_size(by_chain(f(np.radians(angle))))
            for name, angle in angles.items()
            for f in (np.cos, np.sin)
        }
        wells = {name: self.wells(angles, name) for name in self.cuts}
        return {
            "frames": len(wt),
            "pairs": [self.histogram(angles, pair).tolist() for pair in self.pairs],
            "basins": np.bincount(self.basin(angles), minlength=self.n_basins).tolist(),
            "wells": {name: np.bincount(w, minlength=len(self.cuts[name])).tolist() for name, w in wells.items()},
            "ess": ess,
            "ess of wells": {
                name: [
                    effective_sample_size(by_chain((w == k).astype(float))) if 0 < (w == k).mean() < 1 else 0.0
                    for k in range(len(self.cuts[name]))
                ]
                for name, w in wells.items()
            },
            "crossings": {name: crossings(by_chain(self.cores(angles, name))) for name in self.cuts},
        }

    def reference(self, file=None):
        """That of closed form, or of an npz file; None where there is no file."""
        if self.exact is not None:
            return self.exact
        file = Path(file or self.reference_file)
        if not file.exists():
            return None
        kept = np.load(file)
        pairs = np.array([_rebinned(h) for h in kept["histogram"].reshape(-1, *kept["histogram"].shape[-2:])])
        basins = kept["populations"] if "populations" in kept else self._basins_of(kept["histogram"])
        rare = None
        if self.rare:  # what calls itself φ > 0 elsewhere may have the end of the C5 basin with it
            own = float(kept["p_phi_positive"]) if "populations" in kept else basins[list(self.rare_basins)].sum()
            rare = own, float(kept["p_phi_positive_se"])
        return Reference(pairs, basins, rare, float(kept.get("n_effective", np.nan)))

    def _basins_of(self, histogram):
        """Populations of boxes from a fine histogram, by the centres of its bins."""
        centres = (np.arange(len(histogram)) + 0.5) * 360 / len(histogram) - 180
        a, b = np.meshgrid(centres, centres, indexing="ij")
        label = self.basin(dict(zip(self.pairs[0], (a.ravel(), b.ravel()), strict=True)))
        return np.bincount(label, histogram.ravel(), self.n_basins) / histogram.sum()

    def make_reference(self, wt, file):
        """Write what :meth:`reference` reads."""
        angles = self.angles(wt)
        label = self.basin(angles)
        basins = [wt.expectation((label == k).astype(float)) for k in range(self.n_basins)]
        histograms = np.array([self.histogram(angles, pair) for pair in self.pairs]) / len(wt)
        kept = {
            "histogram": histograms.reshape(-1, BINS, BINS),
            "populations": [p.value for p in basins],
            "populations_se": [p.standard_error for p in basins],
            "n_effective": min(self.measure(wt)["ess"].values()),
            "pairs": [" ".join(pair) for pair in self.pairs],
        }
        if self.rare:
            name, well, _ = self.rare
            p = wt.expectation((self.wells(angles, name) == well).astype(float))
            kept |= {"p_phi_positive": p.value, "p_phi_positive_se": p.standard_error}
        Path(file).parent.mkdir(exist_ok=True)
        np.savez_compressed(file, **kept)

    def _indicator(self, row, reference):
        """ESS of the slowest well, of those that are populated where there is a reference."""
        if self.rare:
            return row["ess of wells"][self.rare[0]][self.rare[1]]
        populated = self._well_populations(reference)
        ess = row["ess of wells"]
        return min(e for name, found in ess.items() for e, p in zip(found, populated[name], strict=True) if p)

    def _well_populations(self, reference):
        """name → whether each well is populated."""
        if reference is None or self.boxes:
            return {name: [True] * len(cuts) for name, cuts in self.cuts.items()}
        joint = reference.basins.reshape([len(cuts) for cuts in self.cuts.values()])
        axes = range(joint.ndim)
        return {name: joint.sum(tuple(a for a in axes if a != k)) > POPULATED for k, name in enumerate(self.cuts)}

    def cells(self, rows, reference):
        per_million = [1e6 / row["evaluations"] for row in rows]
        ess = np.array([min(row["ess"].values()) for row in rows])
        cells = {}
        if reference is not None:
            cells |= self._compared(rows, reference, ess)
        if self.rare:
            name, well, label = self.rare
            p = np.array([row["wells"][name][well] / row["frames"] for row in rows])
            cells[f"seeds that saw {label}"] = f"{(p > 0).sum()} of {len(rows)}"
            cells[f"P({label})"] = f"{p.mean():.5f} ± {p.std(ddof=len(p) > 1) / len(p) ** 0.5:.5f}"
            worth = np.array([row["ess of wells"][name][well] for row in rows])
            if p.all():
                errors = (p * (1 - p) / worth) ** 0.5
                cells["its standard error in a run"] = f"{(errors / p).mean():.1%} ({(errors / p).max():.1%})"
            if p.all() and reference is not None:
                z = (p - reference.rare[0]) / np.hypot(errors, reference.rare[1])
                cells["z of runs (largest)"] = f"{z.mean():+.1f} ({z[np.abs(z).argmax()]:+.1f})"
            half = np.array([np.sum(np.array(row["pairs"][0]).reshape(BINS, BINS)[BINS // 2 :]) for row in rows])
            half = half / np.array([row["frames"] for row in rows])
            cells[f"P({name} in 0° to 180°)"] = f"{half.mean():.5f} ± {half.std(ddof=len(p) > 1) / len(p) ** 0.5:.5f}"
        well = self.rare[2] if self.rare else "slowest well"
        slowest = [self._indicator(row, reference) for row in rows]
        crossed = [min(row["crossings"].values()) for row in rows]
        missed = reference is not None and not cells["seeds with all"].startswith(f"{len(rows)} of")
        cells["ESS / 10⁶, torsions"] = mean_and_spread(ess * per_million) + " †" * missed
        cells[f"ESS / 10⁶, {well}"] = mean_and_spread(np.multiply(slowest, per_million), 1)
        cells["crossings / 10⁶"] = mean_and_spread(np.multiply(crossed, per_million), 1)
        return cells

    def _compared(self, rows, reference, ess):
        populated = reference.basins > POPULATED
        found = [int((np.array(row["basins"])[populated] > 0).sum()) for row in rows]
        off = [total_variation(np.array(row["basins"]) / row["frames"], reference.basins) for row in rows]
        worst, floors = [], []
        for row, n in zip(rows, ess, strict=True):
            values = [
                total_variation(np.array(h) / row["frames"], p.ravel())
                for h, p in zip(row["pairs"], reference.pairs, strict=True)
            ]
            worst.append(max(values))
            p = reference.pairs[int(np.argmax(values))]
            floors.append([floor(p, n), floor(p, row["frames"])])
        return {
            f"modes of {populated.sum()}": f"{np.mean(found):.1f}",
            "seeds with all": f"{sum(f == populated.sum() for f in found)} of {len(rows)}",
            "mode weights TV (worst)": mean_and_worst(off),
            "Ramachandran TV (worst)": mean_and_worst(worst),
            "floor, effective draws / frames": "{:.3f} / {:.3f}".format(*np.mean(floors, axis=0)),
        }

    def note(self, reference):
        if reference is None:
            return "There is no reference: --make-reference writes one."
        worth = "exact" if reference.n_effective == math.inf else f"worth {reference.n_effective:,.0f} draws"
        if math.isnan(reference.n_effective):
            worth = "worth a number of draws that its file does not tell"
        rare = f", P({self.rare[2]}) = {reference.rare[0]:.5f} ± {reference.rare[1]:.5f}" if self.rare else ""
        return f"Reference: {worth}{rare}. Histograms over {'; '.join(', '.join(pair) for pair in self.pairs)}."


def _within(angle, low, high):
    """Whether an angle in degrees lies on the way up from `low` to `high`."""
    return (angle - low) % 360 < (high - low) % 360


def _rebinned(histogram):
    """A square histogram on BINS × BINS, its own bins split in proportion to their overlap; sums to one."""
    n = len(histogram)
    edges, fine = np.linspace(0, 1, BINS + 1), np.linspace(0, 1, n + 1)
    overlap = np.minimum(edges[1:, None], fine[1:]) - np.maximum(edges[:-1, None], fine[:-1])
    share = np.maximum(overlap, 0) * n
    return share @ histogram @ share.T / histogram.sum()


def crossings(cores):
    """How often chains (n_draws, n_chains) of core numbers reach another core than they were in last."""
    count = 0
    for chain in cores.T:
        seen = chain[chain >= 0]
        count += int((np.diff(seen) != 0).sum())
    return count
