"""Loops over the terms of a System, for one block of configurations."""

import math

import numpy as np

from ...terms.table import VARIABLES
from .geometry import GEOMETRIES
from .programs import VectorProgram
from .vectors import INT

__all__ = ["BodyLoop", "GBLoop", "MapLoop", "Workspace", "emitter"]


class Workspace:
    """Where the vectors of a block lie: coordinates, gradients, and what terms ask for. Counts are in vectors."""

    def __init__(self, n_atoms, n_dimensions):
        self.n_dimensions = n_dimensions
        self.size = 0
        self.x, self.gradient = self.take(n_atoms * n_dimensions), self.take(n_atoms * n_dimensions)

    def take(self, n):
        self.size += n
        return self.size - n


class Block:
    """What the code of terms may use: vectors `v`, addresses of the data, the energy so far, coordinates, gradients."""

    def __init__(self, v, workspace, place, reals, wholes):
        self.v, self.workspace, self.place, self.reals, self.wholes = v, workspace, place, reals, wholes
        self.energy = v.variable()

    def whole(self, start, *index):
        return self.v.scalar(self.wholes, self.v.index(start, *index), INT)

    def atoms(self, start, tuple_index, n):
        """The `n` atoms of a tuple, from a table with one row a tuple."""
        row = self.v.times(tuple_index, n)
        return [self.whole(start + k, row) for k in range(n)]

    def coordinates(self, atom):
        return [self.read(self.workspace.x + c, self.v.times(atom, self.workspace.n_dimensions)) for c in self.axes]

    @property
    def axes(self):
        return range(self.workspace.n_dimensions)

    def address(self, start, index):
        return self.v.row(self.place, self.v.index(start, index))

    def read(self, start, index):
        return self.v.load(self.address(start, index))

    def write(self, value, start, index):
        self.v.store(value, self.address(start, index))

    def accumulate(self, value, start, index):
        self.v.accumulate(value, self.address(start, index))

    def push(self, atom, gradient):
        """Add to the gradient on an atom."""
        row = self.v.times(atom, self.workspace.n_dimensions)
        for c, value in zip(self.axes, gradient, strict=True):
            self.accumulate(value, self.workspace.gradient + c, row)

    def add_energy(self, value):
        self.v.accumulate(value, self.energy)


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
        cell = v.intrinsic("floor", place)
        last = v.sub(size, v.const(1.0))
        cell = v.select(v.compare(">", cell, v.const(0.0)), cell, v.const(0.0))  # 0 where NaN
        cell = v.select(v.compare("<", cell, last), cell, last)
        return cell, v.sub(place, cell)

    def _patch(self, block, patch, a, b):
        """Energy and its derivatives by a and b: Σ c[p, q] aᵖ bᵠ."""
        v = block.v

        def coefficient(k):
            def lane(number):
                place = v.times(v.builder.fptosi(number, INT), 16)
                return v.scalar(block.reals, v.index(place, self.patches + k))

            return v.lanes(lane, patch)

        energy = by_a = by_b = v.const(0.0)
        for p in reversed(range(4)):
            along, slope = v.const(0.0), v.const(0.0)
            for q in reversed(range(4)):
                slope = v.add(v.mul(slope, b), along)
                along = v.add(v.mul(along, b), coefficient(4 * p + q))
            by_a = v.add(v.mul(by_a, a), energy)
            by_b = v.add(v.mul(by_b, a), slope)
            energy = v.add(v.mul(energy, a), along)
        return energy, by_a, by_b


class _PairStage:
    """One program over atom pairs, in one order or in both, that may leave exclusions out."""

    def __init__(self, stage, term, pairs, data, tables, *, both_orders):
        self.stage, keep = stage, np.arange(len(pairs))
        if stage.respects_exclusions and len(term.exclusions):
            excluded = {tuple(sorted(pair)) for pair in term.exclusions.tolist()}
            keep = np.array([k for k, pair in enumerate(pairs.tolist()) if tuple(pair) not in excluded], dtype=int)
        self.n, self.all = len(keep), len(keep) == len(pairs)
        self.keep = None if self.all else data.add_wholes(keep)
        orders = [pairs[keep], pairs[keep][:, ::-1]] if both_orders else [pairs[keep]]
        self.programs = [
            VectorProgram(
                stage.program,
                {f"{name}{k + 1}": values[order[:, k]] for name, values in term.parameters.items() for k in (0, 1)},
                tables,
                data,
            )
            for order in orders
        ]

    def pair(self, block, k):
        """Number of the `k`-th pair of this stage among all pairs."""
        return k if self.all else block.whole(self.keep, k)


class GBLoop:
    """A :class:`~...terms.table.GBTerm`: computed values, energies, and derivatives back through the values.

    The workspace keeps, of every pair, r, the derivative (∂E/∂r)/r, and those of pair values in both orders.
    """

    def __init__(self, term, data, workspace, tables):
        self.n_atoms = len(next(iter(term.parameters.values()))) if term.parameters else workspace.n_atoms
        self.term = term
        pairs = np.stack(np.triu_indices(self.n_atoms, 1), 1)
        self.n_pairs = len(pairs)
        self.pairs = data.add_wholes(pairs)

        def stages(items, both_orders):
            for item in items:
                if item.pair:
                    yield _PairStage(item, term, pairs, data, tables, both_orders=both_orders)
                else:
                    yield VectorProgram(item.program, term.parameters, tables, data)

        self.values = list(stages(term.values, True))
        self.energies = list(stages(term.energies, False))
        names = [value.name for value in term.values]
        self.value = {name: workspace.take(self.n_atoms) for name in names}
        self.adjoint = {name: workspace.take(self.n_atoms) for name in names}
        self.r, self.slope = workspace.take(self.n_pairs), workspace.take(self.n_pairs)
        self.partials = {}
        for value, stage in zip(term.values, self.values, strict=True):
            sizes = [stage.n] * 2 if value.pair else [self.n_atoms] * len(value.depends_on)
            self.partials[value.name] = [workspace.take(size) for size in sizes]

    def emit(self, block):
        v = block.v
        for name in self.value:
            for start in (self.value[name], self.adjoint[name]):
                with v.loop(0, self.n_atoms) as i:
                    block.write(v.const(0.0), start, i)
        with v.loop(0, self.n_pairs) as p:
            [r, _], _ = GEOMETRIES["distance"](v, *map(block.coordinates, block.atoms(self.pairs, p, 2)))
            block.write(r, self.r, p)
            block.write(v.const(0.0), self.slope, p)
        for value, stage in zip(self.term.values, self.values, strict=True):
            (self._pair_value if value.pair else self._single_value)(block, value, stage)
        for energy, stage in zip(self.term.energies, self.energies, strict=True):
            (self._pair_energy if energy.pair else self._single_energy)(block, energy, stage)
        for value, stage in reversed([*zip(self.term.values, self.values, strict=True)]):
            (self._pair_back if value.pair else self._single_back)(block, value, stage)
        with v.loop(0, self.n_pairs) as p:
            atoms = block.atoms(self.pairs, p, 2)
            _, gradient = GEOMETRIES["distance"](v, *map(block.coordinates, atoms))
            for atom, push in zip(atoms, gradient(block.read(self.slope, p)), strict=True):
                block.push(atom, push)

    def _pair_value(self, block, value, stage):
        with block.v.loop(0, stage.n) as k:
            p = stage.pair(block, k)
            atoms, r = block.atoms(self.pairs, p, 2), block.read(self.r, p)
            for program, atom, start in zip(stage.programs, atoms, self.partials[value.name], strict=True):
                f, partial = program.emit(block.v, block.reals, k, r=r)
                block.accumulate(f, self.value[value.name], atom)
                block.write(partial, start, k)

    def _single_value(self, block, value, stage):
        with block.v.loop(0, self.n_atoms) as i:
            f, *partials = stage.emit(block.v, block.reals, i, **self._known(block, i))
            block.write(f, self.value[value.name], i)
            for partial, start in zip(partials, self.partials[value.name], strict=True):
                block.write(partial, start, i)

    def _known(self, block, atom, suffix=""):
        return {f"{name}{suffix}": block.read(start, atom) for name, start in self.value.items()}

    def _pair_energy(self, block, energy, stage):
        [program] = stage.programs
        with block.v.loop(0, stage.n) as k:
            p = stage.pair(block, k)
            atoms = block.atoms(self.pairs, p, 2)
            known = self._known(block, atoms[0], 1) | self._known(block, atoms[1], 2)
            value, by_r, *by_ends = program.emit(block.v, block.reals, k, r=block.read(self.r, p), **known)
            block.add_energy(value)
            block.accumulate(by_r, self.slope, p)
            n = len(energy.depends_on)
            for end, atom in enumerate(atoms):
                for name, slope in zip(energy.depends_on, by_ends[end * n : (end + 1) * n], strict=True):
                    block.accumulate(slope, self.adjoint[name], atom)

    def _single_energy(self, block, energy, stage):
        with block.v.loop(0, self.n_atoms) as i:
            value, *slopes = stage.emit(block.v, block.reals, i, **self._known(block, i))
            block.add_energy(value)
            for name, slope in zip(energy.depends_on, slopes, strict=True):
                block.accumulate(slope, self.adjoint[name], i)

    def _pair_back(self, block, value, stage):
        v = block.v
        with v.loop(0, stage.n) as k:
            p = stage.pair(block, k)
            for atom, start in zip(block.atoms(self.pairs, p, 2), self.partials[value.name], strict=True):
                adjoint = block.read(self.adjoint[value.name], atom)
                block.accumulate(v.mul(adjoint, block.read(start, k)), self.slope, p)

    def _single_back(self, block, value, stage):
        v = block.v
        with v.loop(0, self.n_atoms) as i:
            adjoint = block.read(self.adjoint[value.name], i)
            for name, start in zip(value.depends_on, self.partials[value.name], strict=True):
                block.accumulate(v.mul(adjoint, block.read(start, i)), self.adjoint[name], i)


def emitter(term):
    """The loop that executes a term."""
    if hasattr(term, "values"):
        return GBLoop
    return MapLoop if hasattr(term, "coefficients") else BodyLoop
