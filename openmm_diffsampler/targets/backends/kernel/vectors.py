"""Code for one block of configurations: every value is a vector with one lane a configuration.

Thin names over llvmlite: arithmetic on vectors, reads and writes of the workspace, loops. Multiplications and additions
may contract to fused ones; nothing else of "fast math" is allowed, so that NaN and infinity stay what they are.
"""

from contextlib import contextmanager

from llvmlite import ir

__all__ = ["INT", "POINTER", "Vectors"]

INT = ir.IntType(64)
POINTER = ir.PointerType()
_FLAGS = ("contract",)


class Vectors:
    """Instructions on vectors of `width` lanes.

    Arguments:
        builder: llvmlite IRBuilder, at the end of the entry block.
        bits: 64 or 32, of the real numbers.
        width: lanes of a vector.
    """

    def __init__(self, builder, bits, width):
        self.builder, self.bits, self.width = builder, bits, width
        self.module = builder.module
        self.entry = builder.block
        self.real = ir.DoubleType() if bits == 64 else ir.FloatType()
        self.whole = ir.IntType(bits)
        self.type = ir.VectorType(self.real, width)
        self.whole_type = ir.VectorType(self.whole, width)
        self.bytes = bits // 8

    # Constants and conversions

    def const(self, value):
        return ir.Constant(self.type, [ir.Constant(self.real, float(value))] * self.width)

    def whole_const(self, value):
        value = value - (1 << self.bits) if value >= 1 << (self.bits - 1) else value
        return ir.Constant(self.whole_type, [ir.Constant(self.whole, value)] * self.width)

    def as_whole(self, a):
        """The bits of a as integers."""
        return self.builder.bitcast(a, self.whole_type)

    def as_real(self, a):
        return self.builder.bitcast(a, self.type)

    def splat(self, scalar):
        """A vector with `scalar` in every lane."""
        one = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), scalar, ir.Constant(INT, 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, ir.Constant(self.type, ir.Undefined), mask)

    def lanes(self, function, *vectors):
        """The vector of function(lane of each vector, …) over the lanes."""
        result = ir.Constant(self.type, ir.Undefined)
        for k in range(self.width):
            lane = ir.Constant(INT, k)
            scalars = [self.builder.extract_element(v, lane) for v in vectors]
            result = self.builder.insert_element(result, function(*scalars), lane)
        return result

    # Arithmetic

    def add(self, a, b):
        return self.builder.fadd(a, b, flags=_FLAGS)

    def sub(self, a, b):
        return self.builder.fsub(a, b, flags=_FLAGS)

    def mul(self, a, b):
        return self.builder.fmul(a, b, flags=_FLAGS)

    def div(self, a, b):
        return self.builder.fdiv(a, b)

    def neg(self, a):
        return self.builder.fneg(a)

    def fma(self, a, b, c):
        """a·b + c, rounded once."""
        return self.intrinsic("fma", a, b, c)

    def sum(self, values):
        first, *rest = values
        for value in rest:
            first = self.add(first, value)
        return first

    def intrinsic(self, name, *arguments):
        """An operation of LLVM: sqrt, fabs, floor, ceil, minimum, maximum, copysign, fma."""
        suffix = f"v{self.width}f{self.bits}"
        kind = ir.FunctionType(self.type, [self.type] * len(arguments))
        return self.builder.call(self.external(f"llvm.{name}.{suffix}", kind), arguments)

    def external(self, name, kind):
        """The function `name` of LLVM or of the C library."""
        known = self.module.globals.get(name)
        return known or ir.Function(self.module, kind, name)

    def compare(self, how, a, b):
        """Mask of a `how` b; false where a or b is NaN, but for "!=", which is true there."""
        if how == "!=":
            return self.builder.fcmp_unordered("!=", a, b)
        return self.builder.fcmp_ordered(how, a, b)

    def select(self, mask, a, b):
        return self.builder.select(mask, a, b)

    def at_least(self, a, floor):
        """max(a, floor) for a number `floor`; NaN stays NaN."""
        return self.select(self.compare("<", a, self.const(floor)), self.const(floor), a)

    def clamped(self, x, highest):
        """x between 0 and `highest`; 0 where x is NaN."""
        x = self.select(self.compare(">", x, self.const(0.0)), x, self.const(0.0))
        return self.select(self.compare("<", x, highest), x, highest)

    # Memory

    def index(self, *terms):
        """Sum of integers and integer values."""
        total = None
        for term in terms:
            term = ir.Constant(INT, term) if isinstance(term, int) else term
            total = term if total is None else self.builder.add(total, term)
        return total

    def times(self, index, factor):
        return index if factor == 1 else self.builder.mul(index, ir.Constant(INT, factor))

    def scalar(self, pointer, index, kind=None):
        """Element `index` of an array of real numbers, or of `kind`."""
        kind = kind or self.real
        address = self.builder.gep(pointer, [index], source_etype=kind)
        return self.builder.load(address, typ=kind)

    def gather(self, pointer, start, places):
        """Elements start + place of an array of real numbers; `places` holds whole numbers, one a lane."""
        return self.lanes(
            lambda place: self.scalar(pointer, self.index(self.builder.fptosi(place, INT), start)), places
        )

    def row(self, pointer, index):
        """Address of vector number `index` of an array."""
        return self.builder.gep(pointer, [index], source_etype=self.type)

    def load(self, address):
        return self.builder.load(address, align=self.width * self.bytes, typ=self.type)

    def store(self, value, address):
        self.builder.store(value, address, align=self.width * self.bytes)

    def accumulate(self, value, address):
        self.store(self.add(self.load(address), value), address)

    def variable(self):
        """A vector that changes as the code runs; kept in a register."""
        with self.builder.goto_block(self.entry):
            return self.builder.alloca(self.type)

    # Loops

    @contextmanager
    def loop(self, start, stop):
        """Repeat what is built inside for index = start … stop − 1, two integer values; yields the index."""
        start, stop = self.index(start), self.index(stop)
        before = self.builder.block
        body, after = (self.builder.append_basic_block() for _ in range(2))
        self.builder.cbranch(self.builder.icmp_signed("<", start, stop), body, after)
        self.builder.position_at_end(body)
        index = self.builder.phi(INT)
        index.add_incoming(start, before)
        yield index
        following = self.builder.add(index, ir.Constant(INT, 1))
        index.add_incoming(following, self.builder.block)
        self.builder.cbranch(self.builder.icmp_signed("<", following, stop), body, after)
        self.builder.position_at_end(after)
