"""What mcmc_comparison.py samples, where chains start, and how a run is judged.

A problem has a target, a starting configuration for each seed, and three functions: ``measure`` turns a trajectory into
plain numbers that are kept, ``cells`` turns the numbers of several seeds into a row of the table, and ``note`` says
below the table what is compared with. What depends on a reference is worked out in ``cells``, so that a better
reference needs no new runs.
"""

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import mdtraj
import numpy as np
import openmm
import torch
from openmm import app, unit
from scipy.optimize import minimize

from openmm_diffsampler import OpenMMTarget, gmm40, load_system
from openmm_diffsampler.analysis import ALANINE_DIPEPTIDE_BASINS, chains_as_array, effective_sample_size
from openmm_diffsampler.coordinates import BondRotations
from openmm_diffsampler.targets.analytic.particles import PairwiseTarget
from openmm_diffsampler.targets.system_checks import generic_positions
from openmm_diffsampler.targets.units import thermal_energy

REFERENCES = Path(__file__).parent / "references"
#: Bins of each torsion, from −180 degrees.
BINS = 24
#: A mode is one to be found from this population on.
POPULATED = 0.01


class Dynamics(NamedTuple):
    """What Langevin dynamics needs: ps, 1/ps."""

    system: openmm.System
    temperature: unit.Quantity
    timestep: float
    friction: float


# Numbers over seeds


def mean_and_worst(values, digits=3):
    return f"{np.mean(values):.{digits}f} ({np.max(values):.{digits}f})"


def mean_and_spread(values, digits=0):
    return f"{np.mean(values):,.{digits}f} ± {np.std(values, ddof=len(values) > 1):,.{digits}f}"


def total_variation(p, q):
    return 0.5 * np.abs(np.asarray(p) - q).sum()


def floor(p, n):
    """Mean total variation of `n` exact draws from the probabilities `p`."""
    n = max(int(n), 1)
    counts = np.random.default_rng(0).multinomial(n, np.ravel(p) / np.sum(p), size=20)
    return float(np.mean([total_variation(c / n, np.ravel(p)) for c in counts]))


# Molecules, judged by their torsions


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


def alanine_dipeptide(name):
    """Chains start in the basin C7eq, at φ = −80°; the file has the extended conformation, on the line φ = 180°."""
    molecule = load_system(name)
    rotations = BondRotations(molecule.mdtraj_topology)
    extended = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer))[None]
    about_phi = torch.tensor([[atoms[1:3] for atoms in rotations.torsions].index((6, 8))])
    start = rotations.rotate(extended, about_phi, torch.tensor([math.radians(100)], dtype=extended.dtype))[0]
    torsions = {"phi": (4, 6, 8, 14), "psi": (6, 8, 14, 16)}
    return TorsionProblem(
        molecule.target(),
        start,
        torsions,
        [("phi", "psi")],
        {"phi": [0, 130]},  # as the basins: beyond 130° it is the C5 basin
        basins=ALANINE_DIPEPTIDE_BASINS,
        rare=("phi", 0, "φ>0"),
        dynamics=_dynamics(molecule.system, molecule.temperature),
    )


def aspartame():
    """The torsions that differ when turned: without NH3, CH3, COO and phenyl."""
    molecule = load_system("aspartame")
    names = {
        "chi1 Asp": "N1 CA1 CB1 CG1",
        "psi Asp": "N1 CA1 C1 N2",
        "omega": "CA1 C1 N2 CA2",
        "phi Phe": "C1 N2 CA2 C2",
        "chi1 Phe": "N2 CA2 CB2 CR1",
        "psi Phe": "N2 CA2 C2 OM",
        "ester": "CA2 C2 OM CM",
    }
    index = {atom.name: atom.index for atom in molecule.topology.atoms()}
    pairs = [("chi1 Asp", "psi Asp"), ("psi Asp", "omega"), ("omega", "phi Phe"), ("phi Phe", "psi Phe")]
    pairs += [("phi Phe", "chi1 Phe"), ("chi1 Phe", "psi Phe"), ("psi Phe", "ester")]
    return TorsionProblem(
        molecule.target(),
        molecule.positions.value_in_unit(unit.nanometer),
        {name: tuple(index[atom] for atom in atoms.split()) for name, atoms in names.items()},
        pairs,
        ASPARTAME_CUTS,
        dynamics=_dynamics(molecule.system, molecule.temperature),
    )


#: Between the wells of aspartame's torsions.
ASPARTAME_CUTS = {
    "chi1 Asp": [-120, 0, 120],
    "psi Asp": [-120, 60],
    "chi1 Phe": [-120, 0, 120],
    "psi Phe": [-120, 60],
}


def _dynamics(system, temperature):
    # 2 fs without constraints: the harmonic motion of bonds to hydrogen is stable, and torsions do not notice.
    return Dynamics(system, temperature, 0.002, 1.0)


# A chain with four torsions that know nothing of each other

#: Of each torsion: (periodicity, phase in degrees, k in kJ/mol) of k(1 + cos(nφ − δ)). Barriers exceed 12 kT at 300 K.
TOY_TORSIONS = {
    "tau1": [(3, 0, 17.0), (1, 40, 1.2)],
    "tau2": [(2, 0, 18.0), (1, 70, 1.3)],
    "tau3": [(3, 0, 17.0), (1, -60, 1.5)],
    "tau4": [(2, 0, 18.0), (1, -90, 1.8)],
}
TOY_CUTS = {name: [-120, 0, 120] if terms[0][0] == 3 else [-180, 0] for name, terms in TOY_TORSIONS.items()}


def torsional_toy():
    """Seven atoms in a row: without other forces than bonds, angles and torsions, p(τ) factorises exactly."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("TOY", topology.addChain())
    atoms = [topology.addAtom(f"C{i + 1}", app.element.carbon, residue) for i in range(7)]
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(7):
        system.addParticle(14.0)
        if i < 6:
            topology.addBond(atoms[i], atoms[i + 1])
            bonds.addBond(i, i + 1, 0.15, 2e5)
        if i < 5:
            angles.addAngle(i, i + 1, i + 2, math.radians(112), 500.0)
    for i, terms in enumerate(TOY_TORSIONS.values()):
        for n, phase, k in terms:
            torsions.addTorsion(i, i + 1, i + 2, i + 3, n, math.radians(phase), k)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    temperature, start = 300 * unit.kelvin, generic_positions(system)
    names = list(TOY_TORSIONS)
    return TorsionProblem(
        OpenMMTarget(system, temperature, topology, positions=start, name="torsional-toy"),
        start,
        {name: (i, i + 1, i + 2, i + 3) for i, name in enumerate(names)},
        list(pairwise(names)),
        TOY_CUTS,
        dynamics=_dynamics(system, temperature),
        exact=_toy_reference,
    )


def _toy_reference(problem):
    kT, fine = thermal_energy(300 * unit.kelvin), 3600
    angle = (np.arange(fine) + 0.5) * 360 / fine - 180
    marginals, wells = {}, []
    for name, terms in TOY_TORSIONS.items():
        energy = sum(k * (1 + np.cos(np.radians(n * angle - phase))) for n, phase, k in terms)
        p = np.exp(-energy / kT)
        p /= p.sum()
        marginals[name] = p.reshape(BINS, -1).sum(1)
        cuts = TOY_CUTS[name]
        wells.append(np.bincount(problem.wells({name: angle}, name), p, len(cuts)))
    basins = wells[0]
    for p in wells[1:]:
        basins = np.multiply.outer(basins, p)
    pairs = np.array([np.outer(marginals[a], marginals[b]) for a, b in problem.pairs])
    return Reference(pairs, basins.ravel(), None, math.inf)


# Forty Gaussians


class MixtureProblem:
    """The mixture of 40 Gaussians, judged by the weights of its modes; chains start at the first centre."""

    name, dynamics, has_bonds, needs_reference = "mog40", None, False, False

    def __init__(self):
        self.target = gmm40()

    def start(self, seed):
        return self.target.means[0]

    def measure(self, wt):
        modes = chains_as_array(self.target.mode(wt.x).numpy(), wt.chain, wt.draw)
        ess = [effective_sample_size(chains_as_array(c.numpy(), wt.chain, wt.draw)) for c in wt.x.T]
        counts = [np.bincount(chain, minlength=40).tolist() for chain in modes.T]
        return {"frames": len(wt), "counts": counts, "ess": ess, "crossings": int((np.diff(modes, axis=0) != 0).sum())}

    def reference(self, file=None):
        return np.full(40, 1 / 40)

    def cells(self, rows, reference):
        counts = [np.array(row["counts"]) for row in rows]
        every = [c.sum(0) for c in counts]
        alone = [np.mean([total_variation(chain / chain.sum(), reference) for chain in c]) for c in counts]
        floors = floor(reference, counts[0][0].sum()), floor(reference, every[0].sum())
        found = [int((c > 0).sum()) for c in every]
        per_million = [1e6 / row["evaluations"] for row in rows]
        return {
            "modes of 40": f"{np.mean(found):.1f}",
            "seeds with all": f"{found.count(40)} of {len(rows)}",
            "mode weights TV of a chain (worst)": mean_and_worst(alone),
            "exact draws": f"{floors[0]:.3f}",
            "mode weights TV (worst)": mean_and_worst([total_variation(c / c.sum(), reference) for c in every]),
            "exact draws, all": f"{floors[1]:.3f}",
            "ESS / 10⁶": mean_and_spread([min(row["ess"]) * m for row, m in zip(rows, per_million, strict=True)]),
            "crossings / 10⁶": mean_and_spread(
                [row["crossings"] * m for row, m in zip(rows, per_million, strict=True)]
            ),
        }

    def note(self, reference):
        return "Reference: exact. Beside a total variation stands that of as many exact independent draws."


# Thirty-eight Lennard-Jones particles


class ContainedCluster(PairwiseTarget):
    """LJ-38 at T* = 0.12: u = Σ_{i<j} 4(r⁻¹² − r⁻⁶)/T*, infinite where a particle is beyond 2.25 σ of the centroid."""

    temperature_star, radius, n_particles = 0.12, 2.25, 38

    def __init__(self):
        pair_energy = f"{4 / self.temperature_star}*y*(y-1); y=1/r^6"
        super().__init__(38, 3, pair_energy, name="lj38", dtype=torch.float64, device="cpu")

    def _evaluate(self, x):
        return self._kernel.energy_and_forces(x)

    def _evaluate_guarded(self, x):
        u, score, valid = super()._evaluate_guarded(x)
        inside = valid & self.contains(x)
        return torch.where(inside, u, torch.inf), torch.where(inside[:, None, None], score, 0.0), inside

    def contains(self, x):
        return (x - x.mean(1, keepdim=True)).norm(dim=2).amax(1) <= self.radius

    def quench(self, x):
        """Energy in ε and positions of the minimum downhill from `x` (38, 3), without the container, not counted."""

        def energy_and_gradient(flat):
            u, score = self._kernel.energy_and_forces(torch.as_tensor(flat.reshape(1, 38, 3)))
            return float(u), -score.numpy().ravel()

        found = minimize(
            energy_and_gradient, x.numpy().ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 3000, "gtol": 1e-5}
        )
        return found.fun * self.temperature_star, torch.as_tensor(found.x.reshape(38, 3))


class ClusterProblem:
    """LJ-38, where the funnel of the lowest minimum is the narrow one. A search for minima, no claim of equilibrium."""

    name, has_bonds, needs_reference = "lj38", False, False
    #: Cambridge Cluster Database: truncated octahedron, and the lowest minimum of the icosahedral funnel.
    funnels = {"fcc": -173.928427, "icosahedral": -173.252378}  # noqa: RUF012
    n_quenched = 64

    def __init__(self):
        self.target = ContainedCluster()

    @property
    def dynamics(self):
        system = openmm.System()
        pairs = openmm.CustomNonbondedForce("4*y*(y-1); y=1/r^6")
        wall = openmm.CustomCentroidBondForce(2, "500*max(0, distance(g1,g2)-2.25)^2")
        for i in range(38):
            system.addParticle(1.0)
            pairs.addParticle([])
            wall.addGroup([i])
        wall.addGroup(list(range(38)))
        for i in range(38):
            wall.addBond([i, 38])
        system.addForce(pairs)
        system.addForce(wall)
        kelvin = self.target.temperature_star / unit.MOLAR_GAS_CONSTANT_R * unit.kilojoule_per_mole
        return Dynamics(system, kelvin, 0.01, 0.5)

    def start(self, seed):
        """A compact random cluster, quenched."""
        rng = np.random.default_rng(seed)
        while True:
            x = self._random(rng)
            _, x = self.target.quench(torch.as_tensor(x))
            x = self.target.project(x[None])
            if self.target.contains(x):
                return x[0]

    @staticmethod
    def _random(rng):
        placed = []
        while len(placed) < 38:
            new = rng.uniform(-2, 2, 3)
            if np.linalg.norm(new) < 2 and all(np.linalg.norm(new - old) > 0.85 for old in placed):
                placed.append(new)
        return np.array(placed)

    def measure(self, wt):
        """Of evenly spaced frames."""
        some = torch.linspace(0, len(wt) - 1, min(self.n_quenched, len(wt))).round().long()
        return {"frames": len(wt), "energies": [self.target.quench(x)[0] for x in wt.x[some].double()]}

    def reference(self, file=None):
        return None

    def funnel(self, energy):
        return next((name for name, e in self.funnels.items() if abs(energy - e) < 1e-3), "other")

    def cells(self, rows, reference):
        lowest = [min(row["energies"]) for row in rows]
        reached = [{self.funnel(e) for e in row["energies"]} for row in rows]
        return {
            "lowest minimum, of any seed": f"{min(lowest):.4f}",
            "mean of seeds": f"{np.mean(lowest):.4f}",
            **{
                f"seeds that reached {name}": f"{sum(name in r for r in reached)} of {len(rows)}"
                for name in self.funnels
            },
        }

    def note(self, reference):
        energies = ", ".join(f"{name} {e}" for name, e in self.funnels.items())
        return f"Energies in ε of up to {self.n_quenched} quenched frames of each seed; global minima: {energies}."


PROBLEMS = {
    "mog40": MixtureProblem,
    "alanine-dipeptide": partial(alanine_dipeptide, "alanine-dipeptide"),
    "alanine-dipeptide-vacuum": partial(alanine_dipeptide, "alanine-dipeptide-vacuum"),
    "torsional-toy": torsional_toy,
    "aspartame": aspartame,
    "lj38": ClusterProblem,
}
