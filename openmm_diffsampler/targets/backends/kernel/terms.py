"""Loops over the terms of a System, for one block of configurations."""

import math

import numpy as np

from ...terms.table import VARIABLES
from .gb_terms import GBLoop
from .geometry import GEOMETRIES
from .programs import VectorProgram

__all__ = ["BodyLoop", "MapLoop", "emitter"]


class BodyLoop:
    """A :class:`~...terms.table.BodyTerm`; terms of the same atoms share their geometry."""

    def __init__(self, term, data, workspace, tables):
        self.geometry, self.variables = GEOMETRIES[term.geometry], VARIABLES[term.geometry]
        atoms, inverse = np.unique(term.atoms, axis=0, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        parameters = {name: column[order] for name, column in term.parameters.items()}
        self.program = VectorProgram(term.program, parameters, tables, data)
        self.n_tuples, self.n_atoms = atoms.shape
        self.atoms = data.add_wholes(atoms)
        counts = np.bincount(inverse.ravel(), minlength=len(atoms))
        self.shared = bool((counts > 1).any())
        self.bounds = data.add_wholes(np.concatenate([[0], np.cumsum(counts)])) if self.shared else None

    def emit(self, block):
        v = block.v
        with v.loop(0, self.n_tuples) as t:
            atoms = block.atoms(self.atoms, t, self.n_atoms)
            variables, gradient = self.geometry(v, *map(block.coordinates, atoms))
            named = dict(zip(self.variables, variables, strict=False))
            if len(variables) > len(named):
                named["squares"] = {"r": variables[-1]}
            if self.shared:
                slopes = [v.variable() for _ in self.variables]
                for slope in slopes:
                    v.store(v.const(0.0), slope)
                with v.loop(block.whole(self.bounds, t), block.whole(self.bounds + 1, t)) as term:
                    self._run(block, term, named, slopes)
                derivatives = [v.load(slope) for slope in slopes]
            else:
                energy, *derivatives = self.program.emit(v, block.reals, t, **named)
                block.add_energy(energy)
            for atom, push in zip(atoms, gradient(*derivatives), strict=True):
                block.push(atom, push)

    def _run(self, block, term, variables, slopes):
        energy, *derivatives = self.program.emit(block.v, block.reals, term, **variables)
        block.add_energy(energy)
        for slope, value in zip(slopes, derivatives, strict=True):
            block.v.accumulate(value, slope)


class MapLoop:
    """A :class:`~...terms.table.MapTerm`."""

    def __init__(self, term, data, workspace, tables):
        self.n = len(term.atoms)
        self.atoms = data.add_wholes(term.atoms)
        sizes = np.array([len(c) for c in term.coefficients])
        starts = np.cumsum(sizes**2) - sizes**2
        self.rows = data.add_reals(np.stack([sizes[term.map_index], starts[term.map_index]], 1))
        self.patches = data.add_reals(np.concatenate([c.reshape(-1) for c in term.coefficients]))

    def emit(self, block):
        v = block.v
        with v.loop(0, self.n) as t:
            atoms = block.atoms(self.atoms, t, 8)
            x = [block.coordinates(atom) for atom in atoms]
            row = v.times(t, 2)
            size = v.splat(v.scalar(block.reals, v.index(self.rows, row)))
            first_patch = v.splat(v.scalar(block.reals, v.index(self.rows + 1, row)))
            per_radian = v.mul(size, v.const(1 / (2 * math.pi)))
            torsions = [GEOMETRIES["torsion"](v, *x[:4]), GEOMETRIES["torsion"](v, *x[4:])]
            (i, a), (j, b) = (self._cell(v, angle, size, per_radian) for [angle], _ in torsions)
            patch = v.add(first_patch, v.add(v.mul(i, size), j))
            energy, by_a, by_b = self._patch(block, patch, a, b)
            block.add_energy(energy)
            for (_, gradient), slope, own in zip(torsions, (by_a, by_b), (atoms[:4], atoms[4:]), strict=True):
                for atom, push in zip(own, gradient(v.mul(slope, per_radian)), strict=True):
                    block.push(atom, push)

    @staticmethod
    def _cell(v, angle, size, per_radian):
        """Which patch along one axis, and where in it, in [0, 1)."""
        turns = v.intrinsic("floor", v.mul(angle, v.const(1 / (2 * math.pi))))
        place = v.mul(v.sub(angle, v.mul(turns, v.const(2 * math.pi))), per_radian)
        cell = v.clamped(v.intrinsic("floor", place), v.sub(size, v.const(1.0)))
        return cell, v.sub(place, cell)

    def _patch(self, block, patch, a, b):
        """Energy and its derivatives by a and b: Σ c[p, q] aᵖ bᵠ."""
        v = block.v
        place = v.mul(patch, v.const(16.0))
        energy = by_a = by_b = v.const(0.0)
        for p in reversed(range(4)):
            along, slope = v.const(0.0), v.const(0.0)
            for q in reversed(range(4)):
                slope = v.add(v.mul(slope, b), along)
                along = v.add(v.mul(along, b), v.gather(block.reals, self.patches + 4 * p + q, place))
            by_a = v.add(v.mul(by_a, a), energy)
            by_b = v.add(v.mul(by_b, a), slope)
            energy = v.add(v.mul(energy, a), along)
        return energy, by_a, by_b


def emitter(term):
    """The loop that executes a term."""
    if hasattr(term, "values"):
        return GBLoop
    return MapLoop if hasattr(term, "coefficients") else BodyLoop
