"""OpenMM's expression language: values and derivatives against OpenMM itself."""

import time

import numpy as np
import openmm
import pytest
import torch

from openmm_diffsampler.targets.backends.kernel import KernelBackend
from openmm_diffsampler.targets.terms.expressions import ExpressionError, parse_expression
from openmm_diffsampler.targets.terms.translate import UnsupportedForceError, translate_system

from ..reference import closed_form, particles, reference

EXPRESSIONS = (
    # precedence and associativity
    "-x^2",
    "--x",
    "x--x^2",
    "2-3-x",
    "x/2*3",
    "2/x/3*x^2",
    "x-2*x+3/x",
    "2^-1*x",
    "2^-x^2",
    "2^x^2",
    "x^2^3",
    "(x^2)^3",
    "-2^2*x",
    # numbers and spaces
    "1.5e-1*x + .5",
    "2.*x^3 - 1.e2 * x + 1E+1*x^2",
    # powers
    "2^x",
    "x^0.5",
    "x^-0.5+x^-3",
    "x^2.5+x^2.7",
    "x^(1/3)",
    "x^y",
    "x^12-x^6",
    # definitions: one sees those to its right; the leftmost of equal names counts; a name may hide a variable
    "a*b; a=b+1; b=x^2",
    "a+b*c; a=b*c; b=c^2; c=x+1",
    "a; a=x; a=2",
    "x^2; x=x-0.1",
    "x+b; x=3*y; b=x^2",
    "step_1+2; step_1=x^2; ",
    # functions with kinks
    "select(step(x-0.7), x^2, sin(x))",
    "select(0, x, x^2)+select(x-x, 3, x^3)",
    "min(x, 0.8)*max(0.4, x)",
    "max(x, y)*min(y, z)",
    "abs(x-0.9)+floor(3*x)*x+ceil(2*x)",
    "delta(x)+x+delta(x-x)*x^2",
    "step(x-x)*x",
    "abs(x*y-0.3)",
    # smooth functions
    "atan2(x, 2)+atan(x)+asin(x/2)+acos(x/3)",
    "atan2(y-0.5, x-0.5)",
    "erf(x)+erfc(2*x)",
    "recip(x)+square(x)+cube(x)",
    "sec(x)+csc(x)+cot(x)+tan(x)",
    "sinh(x)+cosh(x)*tanh(x)",
    "log(x)+exp(-x)+sqrt(x)",
    "sqrt(x^2)+exp(log(x))",
    "(-2)^(2*floor(x+1))+(-0.5)^(2*ceil(x))",
    # no or constant forces
    "3",
    "2*x",
)


def external(text, **constants):
    force = openmm.CustomExternalForce(text)
    for name, value in constants.items():
        force.addGlobalParameter(name, value)
    force.addParticle(0, [])
    return particles(1, force)


X = torch.tensor([[0.3, 1.35, 0.55], [0.6, 1.0, 0.55], [1.1, 0.5, 0.55], [1.45, 0.2, 0.55]], dtype=torch.float64)


def assert_is_openmm(system, second_derivatives=True):
    """Energy, force and second derivative at a few points."""
    x = X.unsqueeze(1)
    exact = reference(system).energy_and_forces(x)
    for backend in (closed_form(system), KernelBackend(translate_system(system))):
        for ours, openmms in zip(backend.energy_and_forces(x), exact, strict=True):
            np.testing.assert_allclose(ours, openmms, rtol=1e-11, atol=1e-12)
    if not second_derivatives:
        return
    v = torch.tensor([[[0.8, -0.5, 0.3]]], dtype=torch.float64).expand_as(x)
    second = closed_form(system).force_vjp(x, v)
    np.testing.assert_allclose(second, reference(system).force_vjp(x, v), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_values_and_derivatives_are_those_of_openmm(text):
    assert_is_openmm(external(text))


@pytest.mark.parametrize(
    "text", ["min(x, 0.6)+2*min(0.6, x)", "max(x, 0.6)+2*max(0.6, x)", "abs(x-0.6)+step(x-0.6)*x", "ceil(x/0.6)*x"]
)
def test_kinks_have_the_derivative_that_openmm_gives_them(text):
    assert (X[:, 0] == 0.6).any()
    assert_is_openmm(external(text), second_derivatives=False)


@pytest.mark.parametrize(
    "text",
    [
        "k*x^2",
        "step(k-0.5)*x^2 + min(k, 0.5)*x^3 + max(k, 2)*x",
        "select(k, x, x^2) + abs(k)*x^2 + floor(k)*x^3 + ceil(k)*x + delta(k)*x^3",
        "x^k + k^x + x^floor(k)",
        "erf(k)*x^2 + log(k)*x + atan2(k, 1)*x",
    ],
)
@pytest.mark.parametrize("k", [0.3, 1.0, 2.5])
def test_global_parameters_are_constants_in_any_place(text, k):
    assert_is_openmm(external(text, k=k))


def test_branches_not_taken_leave_no_trace():
    """√ of a negative number in the other branch: values, forces and second derivatives stay finite."""
    system = external("select(step(x-0.7), sqrt(x-0.7), x^2)")
    assert_is_openmm(system)


@pytest.mark.parametrize(
    ("text", "constants"), [("log(k)*x", {"k": 0.0}), ("sqrt(k)*x", {"k": -1.0}), ("x/k", {"k": 0.0})]
)
def test_constants_that_are_no_real_numbers_are_refused(text, constants):
    with pytest.raises(UnsupportedForceError, match=r"CustomExternalForce.*no finite real number"):
        translate_system(external(text, **constants))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x+y", "unknown name 'y'"),
        ("f(x)", "unknown function 'f'"),
        ("min(x)", r"takes 2 argument\(s\)"),
        ("sin(x, x)", r"sin takes 1 argument\(s\), not 2"),
        ("sin()", "unexpected"),
        ("x+", "unexpected"),
        ("+x", "unexpected"),
        ("x x", "unexpected 'x'"),
        ("", "unexpected"),
        ("(x", r"expected '\)'"),
        ("x)", r"unexpected '\)'"),
        ("x ? 2", "cannot read"),
        ("a; a=a+1", "unknown name 'a'"),
        ("a*b; b=x; a=b", "unknown name 'b'"),
        ("a; b", "has no '='"),
        ("a; a=", "unexpected"),
    ],
)
def test_errors_say_what_is_wrong(text, message):
    with pytest.raises(ExpressionError, match=message):
        parse_expression(text, ["x"])


@pytest.mark.parametrize("text", ["x+w", "f(x)", "min(x)", "+x", "x x", "(x", "a; a=a+1", "a*b; b=x; a=b"])
def test_openmm_refuses_these_too(text):
    with pytest.raises(openmm.OpenMMException):
        reference(external(text))


def assert_refused(text, message, seconds=20):
    """With an error of this package that names the force, is short, and comes without endless work."""
    started = time.process_time()
    with pytest.raises(UnsupportedForceError, match=f"CustomExternalForce: .*{message}") as caught:
        translate_system(external(text))
    assert len(str(caught.value)) < 1000
    assert time.process_time() - started < seconds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('false')",
        "x.__class__.__mro__",
        "lambda: x",
        "[x for x in (1,)]",
        "exec(x)",
        "eval(x)",
        "Symbol(x)",
        "__builtins__",
        "os",
        "f'{x}'",
        "x; y = __import__('os'); x",
        "x**2",
        "x//2",
        "x:=1",
        "\uff58",  # x in full width, which Python takes for x
        "x\u00b2",
        "\u0663*x",
        "x\x00",
        "x\\ny",
        "x if x else y",
    ],
)
def test_text_is_never_python(text):
    with pytest.raises(UnsupportedForceError, match="CustomExternalForce"):
        translate_system(external(text))


def test_names_of_parameters_are_never_python():
    name = "__import__"
    assert_is_openmm(external(f"{name}*x^2", **{name: 2.0}))
    odd = openmm.CustomExternalForce("k*x^2")
    odd.addPerParticleParameter("k'], open('nothing'), columns['x")
    odd.addGlobalParameter("k", 1.0)
    odd.addParticle(0, [1.0])
    assert_is_openmm(particles(1, odd))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10^10000000000*x", "power 10000000000 is beyond"),
        ("10^10^10*x", "power 10000000000 is beyond"),
        ("9^9^9^9*x", "power 387420489 is beyond"),
        ("2^-99999999999*x", "power -99999999999 is beyond"),
        ("x^1e300", "is beyond"),
        ("x^a; a=10^7", "power 10000000 is beyond"),
        ("1e999*x", "no number of a computer"),
        ("1" * 4400 + "*x", "more than 400 digits"),
        ("exp(exp(exp(100)))*x", "beyond those of a computer"),
        ("cosh(exp(exp(100.0)))*x", "beyond those of a computer"),
        ("square(" * 20 + "3" + ")" * 20 + "*x", "beyond those of a computer"),
        ("x*" + "*".join(["1e300"] * 20), "no finite real number"),
        ("(123456789*x)^1000000", "power 1000000 is beyond"),
        ("((3*x)^1000)^1000000", "power 1000(000)? is beyond"),
        ("(3*sqrt(x)/30)^1000000", "power 1000000 is beyond"),
    ],
)
def test_constants_are_bounded_before_they_are_computed(text, message):
    assert_refused(text, message)


def nested(opening, closing, n):
    return opening * n + "x" + closing * n


DEEP = {
    "parentheses": nested("(", ")", 5_000),
    "parentheses without end": "(" * 5_000,
    "functions": nested("sin(", ")", 1_000),
    "signs": nested("-", "", 5_000),
    "powers": nested("", "^1.5", 2_000),
    "definitions": "a0;" + "".join(f"a{k}=a{k + 1};" for k in range(2_000)) + "a2000=x",
}
LONG = {
    "characters": "x" + " " * 100_001,
    "terms": "+".join(["x"] * 6_000),
    "terms of a sum": "+".join(["x"] * 1_001),
    "factors": "/".join(["x"] * 260),
    "doubling definitions": "a0;" + "".join(f"a{k}=sin(a{k + 1})*a{k + 1};" for k in range(60)) + "a60=x",
}


@pytest.mark.parametrize("kind", DEEP)
def test_depth_is_bounded_before_anybody_recurses(kind):
    assert_refused(DEEP[kind], "nested|parts")


@pytest.mark.parametrize("kind", LONG)
def test_length_is_bounded(kind):
    assert_refused(LONG[kind], "characters|parts|terms")


@pytest.mark.parametrize("kind", [*DEEP, *LONG])
def test_openmm_is_not_given_what_it_does_not_survive(kind):
    """Its parser ends the process with a fault where it is nested deep."""
    inside = openmm.CustomCVForce("2*a")
    force = openmm.CustomExternalForce((DEEP | LONG)[kind])
    force.addParticle(0, [])
    inside.addCollectiveVariable("a", force)
    for system in (external((DEEP | LONG)[kind]), particles(1, inside)):
        with pytest.raises(ExpressionError, match=r"^CustomExternalForce: "):
            reference(system)


@pytest.mark.parametrize(
    "text",
    [nested("(", ")", 90), nested("sin(", ")", 40), nested("-", "", 40), "+".join(f"{k}.5*x^{k}" for k in range(40))],
)
def test_what_is_merely_large_is_read(text):
    assert_is_openmm(external(text), second_derivatives=False)
