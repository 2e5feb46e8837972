"""Loops over a generalised Born term: computed values, energies, and derivatives back through the values."""

import numpy as np

from .geometry import GEOMETRIES
from .programs import VectorProgram

__all__ = ["GBLoop"]


class _PairStage:
    """One program over atom pairs, in one order or in both, that may leave exclusions out."""

    def __init__(self, stage, term, pairs, data, tables, *, both_orders):
        keep = term.kept_pairs(stage, pairs)
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
        self.term, self.n_atoms = term, workspace.n_atoms
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
