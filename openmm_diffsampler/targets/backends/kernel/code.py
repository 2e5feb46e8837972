"""The whole kernel as LLVM assembly: transpose a block of configurations, run the loops over terms, transpose back."""

import math

from llvmlite import ir

from .blocks import Block, Workspace
from .programs import Data
from .terms import emitter
from .vectors import INT, POINTER, Vectors

__all__ = ["NAME", "Kernel"]

NAME = "energy_and_forces"


class Kernel:
    """Code for the energies and forces of a :class:`~...terms.table.TermTable`, and the numbers that it reads.

    Arguments:
        table: the terms.
        bits: 64 or 32.
        width: configurations of a block, lanes of a vector.
        n_dimensions: coordinates of an atom; terms other than distances need three.

    The function takes addresses of positions (n, n_atoms, n_dimensions), energies (n,), forces like positions, a
    workspace of ``workspace_size`` numbers aligned to a vector, real and whole numbers (``data``), the number of blocks
    taken so far, and n. It takes blocks until none is left, beside others that do the same with workspaces of their
    own. Energies and forces are multiplied by ``scale``. A configuration that has any that is not finite, or such a
    coordinate, gets an energy of +∞ and no forces.
    """

    def __init__(self, table, bits, width, n_dimensions=3, scale=1.0):
        self.data, self.workspace = Data(), Workspace(table.n_atoms, n_dimensions)
        self.scale = self.data.add_reals([scale])
        self.n_coordinates, self.width = table.n_atoms * n_dimensions, width
        self.loops = [emitter(term)(term, self.data, self.workspace, table.tables) for term in table.terms]
        module = ir.Module(NAME)
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * 7 + [INT]), NAME)
        self.x, self.energy, self.forces, self.place, self.reals, self.wholes, taken, n = function.args
        for pointer in function.args[:6]:  # but not the count of blocks, which other threads write too
            pointer.add_attribute("noalias")
        builder = ir.IRBuilder(function.append_basic_block())
        self.v = v = Vectors(builder, bits, width)
        # Registers are declared in the first block; then blocks of configurations are taken until none is left.
        take, work, done = (function.append_basic_block() for _ in range(3))
        builder.position_at_end(take)
        block = Block(v, self.workspace, self.place, self.reals, self.wholes)
        start = v.times(builder.atomic_rmw("add", taken, ir.Constant(INT, 1), "monotonic"), width)
        builder.cbranch(builder.icmp_signed("<", start, n), work, done)
        builder.position_at_end(work)
        rows = [self._row(start, lane, n) for lane in range(width)]
        self._read(rows)
        v.store(v.const(0.0), block.energy)
        for loop in self.loops:
            loop.emit(block)
        self._write(rows, v.load(block.energy))
        builder.branch(take)
        builder.position_at_end(done)
        builder.ret_void()
        with builder.goto_block(v.entry):
            builder.branch(take)
        self.code = str(module)

    @property
    def workspace_size(self):
        """Numbers that a thread's workspace holds."""
        return self.workspace.size * self.width

    def _row(self, start, lane, last):
        """The configuration in a lane; behind the last one, that one again."""
        builder = self.v.builder
        row = builder.add(start, ir.Constant(INT, lane))
        highest = builder.sub(last, ir.Constant(INT, 1))
        return builder.select(builder.icmp_signed("<", row, highest), row, highest)

    def _read(self, rows):
        v = self.v
        with v.loop(0, self.n_coordinates) as c:
            vector = ir.Constant(v.type, ir.Undefined)
            for lane, row in enumerate(rows):
                place = v.index(v.times(row, self.n_coordinates), c)
                vector = v.builder.insert_element(vector, v.scalar(self.x, place), ir.Constant(INT, lane))
            v.store(vector, v.row(self.place, v.index(self.workspace.x, c)))
            v.store(v.const(0.0), v.row(self.place, v.index(self.workspace.gradient, c)))

    def _write(self, rows, energy):
        v = self.v

        def gradient(c):
            return v.load(v.row(self.place, v.index(self.workspace.gradient, c)))

        def put(vector, pointer, places):
            for lane, place in enumerate(places):
                scalar = v.builder.extract_element(vector, ir.Constant(INT, lane))
                v.builder.store(scalar, v.builder.gep(pointer, [place], source_etype=v.real))

        scale = v.splat(v.scalar(self.reals, v.index(self.scale)))
        energy = v.mul(energy, scale)
        # Zero times a number that is not finite is NaN, and so is every sum that holds it.
        zeros = v.variable()
        v.store(v.mul(energy, v.const(0.0)), zeros)
        with v.loop(0, self.n_coordinates) as c:
            x = v.load(v.row(self.place, v.index(self.workspace.x, c)))
            v.accumulate(v.mul(v.mul(gradient(c), scale), v.const(0.0)), zeros)
            v.accumulate(v.mul(x, v.const(0.0)), zeros)
        valid = v.compare("==", v.load(zeros), v.const(0.0))
        put(v.select(valid, energy, v.const(math.inf)), self.energy, rows)
        with v.loop(0, self.n_coordinates) as c:
            force = v.select(valid, v.neg(v.mul(gradient(c), scale)), v.const(0.0))
            put(force, self.forces, [v.index(v.times(row, self.n_coordinates), c) for row in rows])
