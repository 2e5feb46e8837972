"""Which known conformers, and shapes of stiff parts, a run visited, and how often it should have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .dihedrals import dihedral_angles_of
from .populations import Population, population
from .torsions import MoleculeTorsion

if TYPE_CHECKING:
    from .landscape import Landscape, Part
    from .weighted_trajectory import WeightedTrajectory

__all__ = ["KnownConformer", "Shape", "known_conformers", "shapes_of"]

#: Degrees that each torsion of a frame may be off those of a conformer; half a gauche well.
_NEAR = 60.0
#: Conformers up to here (kT) above the lowest one are looked for, and at most so many.
_WINDOW, _MOST = 6.0, 200
#: Shapes of which less is populated are given without an error, which costs a pass over all chains.
_LEAST_ESTIMATED = 1e-3
#: Conformers of the same energy (kT) and the same sorted distances of heavy atoms (nm) are one by symmetry.
_SAME_ENERGY, _SAME_DISTANCES = 0.05, 0.02


@dataclass(frozen=True)
class KnownConformer:
    """A conformer that the search found.

    Attributes:
        height: energy in kT above the lowest that was found.
        population: share of frames within 60° of all its torsions and in its shapes.
        expected: share that its energy, and the populations of those that were visited, let expect.
        twin_visited: whether one that symmetry makes equal was visited.
    """

    height: float
    population: float
    expected: float
    twin_visited: bool


@dataclass(frozen=True)
class Shape:
    """One shape of a stiff part.

    Attributes:
        part: its name.
        height: energy in kT above the lowest shape.
        inside: (n_frames,) booleans.
        estimate: its population with standard error and interval, from 1e-3 on; None of rarer ones.
        harmonic: share among the part's shapes by harmonic free energies.
        expected: the same, scaled to the populations of those that were visited.
        entered, left: how often chains came into it and went out, from frame to frame.
    """

    part: str
    height: float
    inside: np.ndarray
    estimate: Population | None
    harmonic: float
    expected: float
    entered: int
    left: int

    @property
    def population(self) -> float:
        """Share of the frames."""
        return float(self.inside.mean())


def known_conformers(
    wt: WeightedTrajectory, landscape: Landscape, torsions: Sequence[MoleculeTorsion]
) -> list[KnownConformer]:
    r"""Conformers up to 6 kT above the lowest one, each of them once, the lowest first.

    What is expected of conformer i follows from those that were visited, V,

    .. math:: p_i = e^{-u_i} \sum_{j \in V} p_j \Big/ \sum_{j \in V} e^{-u_j},

    which knows nothing of entropies, and where none was visited p_i = e^{-u_i}/\sum_j e^{-u_j}.

    Arguments:
        wt: frames of a run.
        landscape: what the search found.
        torsions: of the frames; those of symmetric groups of three do not count.
    """
    if not len(landscape.energies):
        return []
    telling = [torsion for torsion in torsions if torsion.order < 3]
    near = landscape.energies <= landscape.energies.min() + _WINDOW
    x, u = landscape.conformers[torch.as_tensor(near)], landscape.energies[near]
    order = np.argsort(u, kind="stable")
    x, u = x[torch.as_tensor(order.copy())], u[order]
    quartets = [torsion.atoms for torsion in telling]
    angles = np.degrees(dihedral_angles_of(x, quartets)) if telling else np.zeros((len(u), 0))
    frames = np.stack([torsion.angles for torsion in telling], 1) if telling else np.zeros((len(wt), 0))
    labels = np.array([part.labels(x) for part in landscape.parts], dtype=int).reshape(-1, len(u)).T
    shapes = [part.labels(wt.x) for part in landscape.parts]
    turns = np.array([360.0 / torsion.order for torsion in telling])
    kept: list[int] = []
    for k in range(len(u)):
        same = (labels[kept] == labels[k]).all(1) & _within(angles[kept], angles[k], turns)
        if len(kept) < _MOST and not same.any():
            kept.append(k)
    share = np.empty(len(kept))
    for row, k in enumerate(kept):
        inside = _within(frames, angles[k], turns)
        for column, label in enumerate(labels[k]):
            inside &= shapes[column] == label
        share[row] = inside.mean()
    u, x = u[kept], x[kept]
    weight = np.exp(u.min() - u)
    expected = _expected(weight, share)
    twins = _twins(wt, x, u)
    return [
        KnownConformer(float(u[i] - u[0]), float(share[i]), float(expected[i]), bool(share[twins[i]].any()))
        for i in range(len(kept))
    ]


def shapes_of(wt: WeightedTrajectory, part: Part) -> list[Shape]:
    """Every shape of a part, the lowest first, with the chains' ways into it and out of it."""
    labels = part.labels(wt.x)
    same_chain = (wt.chain[1:] == wt.chain[:-1]).numpy()
    harmonic = np.exp(part.free_energies.min() - part.free_energies)
    n = len(harmonic)
    expected = _expected(harmonic, np.bincount(labels, minlength=n) / len(labels))
    changes = same_chain & (labels[1:] != labels[:-1])
    entered, left = (np.bincount(ends[changes], minlength=n) for ends in (labels[1:], labels[:-1]))
    return [
        Shape(
            part.name,
            float(part.energies[k]),
            labels == k,
            population(wt, labels == k) if (labels == k).mean() >= _LEAST_ESTIMATED else None,
            float(harmonic[k] / harmonic.sum()),
            float(expected[k]),
            int(entered[k]),
            int(left[k]),
        )
        for k in np.argsort(part.energies, kind="stable")
    ]


def _expected(weights: np.ndarray, populations: np.ndarray) -> np.ndarray:
    visited = populations > 0
    if not visited.any():
        return weights / weights.sum()
    return weights * populations[visited].sum() / weights[visited].sum()


def _within(angles: np.ndarray, centre: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """(n,) booleans: whether all torsions are near those of a conformer; `turns` make the same one."""
    off = angles - centre
    return (np.abs(off - turns * np.round(off / turns)) <= np.minimum(_NEAR, turns / 2)).all(1)


def _twins(wt: WeightedTrajectory, x: torch.Tensor, u: np.ndarray) -> list[np.ndarray]:
    """Of each conformer, those that symmetry makes equal, itself among them."""
    heavy = [atom.index for atom in wt.topology.atoms if atom.element.atomic_number > 1]
    distances = np.stack([torch.pdist(rows).sort().values.numpy() for rows in x[:, heavy]])
    return [
        np.flatnonzero((np.abs(u - u[i]) < _SAME_ENERGY) & (np.abs(distances - distances[i]).max(1) < _SAME_DISTANCES))
        for i in range(len(u))
    ]
