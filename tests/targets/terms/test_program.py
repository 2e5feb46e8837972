"""Programs: what is shared, what is fixed, and that instructions mean what the expression says."""

import math

import pytest

from openmm_diffsampler.targets.terms.expressions import ExpressionError, parse_expression
from openmm_diffsampler.targets.terms.program import compile_program

MEANING = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "pow": lambda a, b: a**b,
    "recip": lambda a: 1 / a,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "cos": math.cos,
    "step": lambda a: float(a >= 0),
    "select": lambda c, a, b: a if c != 0 else b,
    "max": max,
}


def program_of(text, variables=("r",), parameters=("k", "s", "e")):
    names = [*variables, *parameters]
    texts = [text] if isinstance(text, str) else text
    return compile_program([parse_expression(t, names) for t in texts], variables, parameters)


def run(program, **values):
    """A plain interpreter of programs."""
    results = []
    for i in program.instructions:
        if i.op == "const":
            results.append(i.data)
        elif i.op in ("variable", "parameter"):
            results.append(values[i.data])
        else:
            results.append(MEANING[i.op](*(results[a] for a in i.args)))
    return [results[k] for k in program.outputs]


def ops(program, varying=True):
    return [i.op for i, v in zip(program.instructions, program.varying, strict=True) if v == varying]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4*e*((s/r)^12-(s/r)^6)", 4 * 0.5 * ((0.3 / 1.7) ** 12 - (0.3 / 1.7) ** 6)),
        ("k/r^3+r^-0.5", 2 / 1.7**3 + 1.7**-0.5),
        ("r^2.5*k", 2 * 1.7**2.5),
        ("r^s+k^r", 1.7**0.3 + 2**1.7),
        ("select(step(r-k), 1, exp(-r))", math.exp(-1.7)),
        ("max(r, 2)+step(0.5)", 3.0),
        ("7", 7.0),
        ("cos(k)", math.cos(2)),
    ],
)
def test_instructions_mean_what_the_expression_says(text, expected):
    assert run(program_of(text), r=1.7, k=2.0, s=0.3, e=0.5) == [pytest.approx(expected, rel=1e-14)]


def test_what_depends_on_parameters_alone_is_fixed():
    program = program_of("4*e*k^2*exp(s)*r")
    assert ops(program) == ["variable", "mul"]
    assert ops(program, varying=False).count("exp") == 1


def test_operands_are_named_before_they_are_used():
    program = program_of(["k*cos(r)^3+exp(-r/s)", "exp(-r/s)"])
    for n, instruction in enumerate(program.instructions):
        assert all(a < n for a in instruction.args)
        assert program.varying[n] == (instruction.op == "variable" or any(program.varying[a] for a in instruction.args))


def test_equal_parts_are_computed_once_across_outputs():
    program = program_of(["k*exp(-r)+exp(-r)^2", "exp(-r)", "r*exp(-r)"])
    assert [i.op for i in program.instructions].count("exp") == 2  # exp(-r) and exp(-2r), as sympy writes its square
    assert len({*program.outputs}) == 3


@pytest.mark.parametrize(("power", "products"), [(2, 1), (3, 2), (6, 3), (12, 4)])
def test_whole_powers_are_products(power, products):
    assert ops(program_of(f"r^{power}")) == ["variable"] + ["mul"] * products


def test_inverse_and_half_powers():
    assert ops(program_of("r^2.0")) == ["variable", "mul"]
    assert ops(program_of("r^-2")) == ["variable", "recip", "mul"]
    assert ops(program_of("r^1.5")) == ["variable", "sqrt", "mul", "mul"]
    assert ops(program_of("1/sqrt(r)")) == ["variable", "recip", "sqrt"]


def test_parameters_are_listed_once():
    assert sorted(program_of("k*r+k*s*r^2").parameters) == ["k", "s"]


def test_functions_without_an_executor_are_named():
    import sympy

    with pytest.raises(ExpressionError, match="evaluate gamma"):
        compile_program([sympy.gamma(sympy.Symbol("r", real=True))], ["r"], [])


@pytest.mark.parametrize("text", ["r/0", "sqrt(-2)*r", "r+log(0)"])
def test_constants_that_are_no_finite_numbers(text):
    with pytest.raises(ExpressionError, match="no finite real number"):
        program_of(text)
