"""Elementary functions of the kernel against numpy, at random and at special arguments."""

import ctypes
import itertools

import numpy as np
import pytest
from llvmlite import ir
from scipy import special

from openmm_diffsampler.targets.backends.kernel.functions import FUNCTIONS
from openmm_diffsampler.targets.backends.kernel.machine_code import load
from openmm_diffsampler.targets.backends.kernel.vectors import INT, POINTER, Vectors

WIDTH = 8
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-300, -1e-300, 1e-310, 1e300, 709.7, -745.2]


def compiled(op, bits, n_arguments):
    """numpy function of equally long arrays that runs an op of the kernel, eight numbers at a time."""
    module = ir.Module("test")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER] * 7 + [INT]), "test")
    v = Vectors(ir.IRBuilder(function.append_basic_block()), bits, WIDTH)
    with v.loop(0, function.args[7]) as k:
        operands = [
            v.builder.load(v.row(a, k), align=bits // 8, typ=v.type) for a in function.args[1 : 1 + n_arguments]
        ]
        v.builder.store(FUNCTIONS[op](v, *operands), v.row(function.args[0], k), align=bits // 8)
    v.builder.ret_void()
    run, engine = load(str(module), "test")

    def evaluate(*arrays):
        dtype = np.float64 if bits == 64 else np.float32
        n = -(-len(arrays[0]) // WIDTH)
        padded = [np.zeros(n * WIDTH, dtype=dtype) for _ in range(n_arguments + 1)]
        for to, array in zip(padded[1:], arrays, strict=True):
            to[: len(array)] = array
        addresses = [a.ctypes.data_as(ctypes.c_void_p) for a in padded] + [None] * (6 - n_arguments)
        run(*addresses, n)
        return padded[0][: len(arrays[0])]

    evaluate.engine = engine
    return evaluate


def arguments(low, high, positive=False):
    rng = np.random.default_rng(0)
    spread = 10.0 ** rng.uniform(-12, 12, 2000) * rng.choice([-1, 1], 2000)
    x = np.concatenate([rng.uniform(low, high, 20_000), np.clip(spread, low, high), SPECIAL])
    return np.abs(x) if positive else x


CASES = {
    "exp": (np.exp, arguments(-700, 709)),
    "log": (np.log, arguments(0, 1e6, positive=True)),
    "sin": (np.sin, arguments(-1e6, 1e6)),
    "cos": (np.cos, arguments(-1e6, 1e6)),
    "tan": (np.tan, arguments(-100, 100)),
    "atan": (np.arctan, arguments(-1e6, 1e6)),
    "asin": (np.arcsin, arguments(-1, 1)),
    "acos": (np.arccos, arguments(-1, 1)),
    "tanh": (np.tanh, arguments(-30, 30)),
    "sinh": (np.sinh, arguments(-700, 700)),
    "cosh": (np.cosh, arguments(-700, 700)),
    "erf": (special.erf, arguments(-6, 6)),
    "erfc": (special.erfc, arguments(-6, 5)),
    "sqrt": (np.sqrt, arguments(0, 1e6)),
    "recip": (lambda x: 1 / x, arguments(-1e6, 1e6)),
    "floor": (np.floor, arguments(-1e6, 1e6)),
    "ceil": (np.ceil, arguments(-1e6, 1e6)),
    "abs": (np.abs, arguments(-1e6, 1e6)),
    "sign": (np.sign, arguments(-1e6, 1e6)),
    "step": (lambda x: (x >= 0).astype(x.dtype), arguments(-1e6, 1e6)),
    "delta": (lambda x: (x == 0).astype(x.dtype), arguments(-1e6, 1e6)),
}


def assert_close(found, exact, bits, ulp=4):
    """Within `ulp` units in the last place, denormal numbers as zero; NaN and infinities alike."""
    kind = np.finfo(found.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (np.isnan(found) & np.isnan(exact)) | (found == exact)
        wrong = ~same & ~(np.abs(found - exact) <= ulp * kind.eps * np.abs(exact) + kind.tiny)
    assert not wrong.any(), (found[wrong][:5], exact[wrong][:5])


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", CASES)
@np.errstate(all="ignore")
def test_one_argument(name, bits):
    function, x = CASES[name]
    x = x.astype(np.float64 if bits == 64 else np.float32)
    exact = function(x.astype(np.float64)).astype(x.dtype)
    found = compiled(name, bits, 1)(x)
    assert_close(found, exact, bits, ulp={"erfc": 60, "tan": 8, "asin": 8, "acos": 8, "sinh": 8}.get(name, 4))


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize(("name", "function"), [("atan2", np.arctan2), ("min", np.minimum), ("max", np.maximum)])
@np.errstate(all="ignore")
@pytest.mark.filterwarnings("ignore:overflow")
def test_two_arguments(name, function, bits):
    rng = np.random.default_rng(1)
    finite = [s for s in SPECIAL if np.isfinite(np.float32(s))] if name == "atan2" else SPECIAL
    special_pairs = np.array(list(itertools.product(finite, finite))).T
    a, b = np.concatenate([rng.normal(size=(2, 20_000)) * 10.0 ** rng.uniform(-6, 6, (2, 20_000)), special_pairs], 1)
    dtype = np.float64 if bits == 64 else np.float32
    a, b = a.astype(dtype), b.astype(dtype)
    assert_close(compiled(name, bits, 2)(a, b), function(a, b), bits)


def test_pow_and_select():
    rng = np.random.default_rng(2)
    a, b = rng.uniform(0, 10, 1000), rng.uniform(-5, 5, 1000)
    assert_close(compiled("pow", 64, 2)(a, b), a**b, 64)
    condition = np.array([0.0, -0.0, 1.0, -2.0, np.nan, np.inf])
    assert compiled("select", 64, 3)(condition, np.full(6, 1.0), np.full(6, 2.0)).tolist()[:4] == [2, 2, 1, 1]
    # What is in the branch not taken does not leak.
    nan = np.full(6, np.nan)
    assert compiled("select", 64, 3)(np.ones(6), np.ones(6), nan).tolist() == [1] * 6
