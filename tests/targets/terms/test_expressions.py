"""OpenMM's expression language: values and derivatives against OpenMM itself."""

import numpy as np
import openmm
import pytest

from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.expressions import ExpressionError, parse_expression
from openmm_diffsampler.targets.terms.translate import translate_system

EXPRESSIONS = (
    "-x^2",
    "2-3-x",
    "x/2*3",
    "2^-1*x",
    "2^x",
    "x^0.5",
    "2^x^2",
    "1.5e-1*x + .5",
    "a*b; a=b+1; b=x^2",
    "select(step(x-0.7), x^2, sin(x))",
    "min(x, 0.8)*max(0.4, x)",
    "abs(x-0.9)+floor(3*x)*x+ceil(2*x)",
    "delta(x)+x",
    "atan2(x, 2)+atan(x)+asin(x/2)+acos(x/3)",
    "erf(x)+erfc(2*x)",
    "recip(x)+square(x)+cube(x)",
    "sec(x)+csc(x)+cot(x)+tan(x)",
    "sinh(x)+cosh(x)*tanh(x)",
    "log(x)+exp(-x)+sqrt(x)",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_values_and_derivatives_are_those_of_openmm(text):
    import torch

    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(text)
    force.addParticle(0, [])
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    backend = TorchBackend(translate_system(system))
    for x in (0.3, 0.6, 1.1, 1.45):
        positions = np.array([[x, 0.0, 0.0]])
        context.setPositions(positions)
        state = context.getState(getEnergy=True, getForces=True)
        energy, forces = backend.energy_and_forces(torch.as_tensor(positions)[None])
        assert energy.item() == pytest.approx(state.getPotentialEnergy()._value, rel=1e-12)
        assert forces[0, 0, 0].item() == pytest.approx(state.getForces()[0].x, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x+y", "unknown name 'y'"),
        ("f(x)", "unknown function 'f'"),
        ("min(x)", r"takes 2 argument\(s\)"),
        ("x+", "unexpected"),
        ("(x", r"expected '\)'"),
        ("x ? 2", "cannot read"),
        ("a; a=a+1", "defined through itself"),
        ("a; b", "has no '='"),
    ],
)
def test_errors_say_what_is_wrong(text, message):
    with pytest.raises(ExpressionError, match=message):
        parse_expression(text, ["x"])
