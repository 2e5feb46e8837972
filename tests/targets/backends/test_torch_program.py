"""Programs printed as torch code: values, precision, shapes, slices and memory."""

import dis
import math

import pytest
import torch

from openmm_diffsampler.targets.backends.torch_program import TorchProgram
from openmm_diffsampler.targets.terms.expressions import parse_expression
from openmm_diffsampler.targets.terms.program import compile_program

PARAMETERS = {"k": torch.tensor([2.0, -1.0, 0.5]).double().numpy(), "s": torch.tensor([0.3, 0.2, 0.1]).double().numpy()}
R = torch.linspace(0.4, 2.9, 12, dtype=torch.float64).reshape(3, 4)
K, S = (torch.as_tensor(PARAMETERS[name]).unsqueeze(1) for name in "ks")


def bound(*texts, dtype=torch.float64, parameters=PARAMETERS):
    outputs = [parse_expression(text, ["r", *parameters]) for text in texts]
    return TorchProgram(compile_program(outputs, ["r"], list(parameters)), parameters, [], dtype=dtype, device="cpu")


VALUES = {
    "k*r^2+s": lambda: K * R**2 + S,
    "k*r+3*s*r^2+0.5*r*exp(-r)": lambda: K * R + 3 * S * R**2 + 0.5 * R * torch.exp(-R),
    "r*exp(r)+r*sin(r)+cos(r)*exp(r)": lambda: R * R.exp() + R * R.sin() + R.cos() * R.exp(),
    "2*r*sin(r)-1": lambda: 2 * R * R.sin() - 1,
    "3*r+k": lambda: 3 * R + K,
    "4*(s/r)^12-4*(s/r)^6": lambda: 4 * (S / R) ** 12 - 4 * (S / R) ** 6,
    "(r*k)*(r*k)+r*k": lambda: (R * K) ** 2 + R * K,
    "1/(1+exp(-r))": lambda: 1 / (1 + (-R).exp()),
    "min(r,1)*max(k,0)+abs(k*r)": lambda: R.clamp(max=1) * K.clamp(min=0) + (K * R).abs(),
    "select(step(r-1),r^2,-r)": lambda: torch.where(R >= 1, R**2, -R),
    "atan2(r,k)+erf(r)+tanh(k*r)": lambda: torch.atan2(R, K) + R.erf() + (K * R).tanh(),
    "floor(r)+ceil(k*r)+delta(floor(r)-1)": lambda: R.floor() + (K * R).ceil() + (R.floor() == 1),
}


@pytest.mark.parametrize("text", VALUES)
def test_values(text):
    (found,) = bound(text)(r=R)
    assert torch.allclose(found, VALUES[text](), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("text", VALUES)
def test_autograd_goes_through(text):
    r = R.clone().requires_grad_()
    (closed,) = torch.autograd.grad(bound(text)(r=r)[0].sum(), r, allow_unused=True)
    r_plus, r_minus = R + 1e-6, R - 1e-6
    program = bound(text)
    differences = (program(r=r_plus)[0] - program(r=r_minus)[0]) / 2e-6
    assert torch.allclose(torch.zeros_like(R) if closed is None else closed, differences, rtol=1e-6, atol=1e-6)


def test_several_outputs_share_their_parts():
    energy, slope = bound("k*exp(-r)^2+r", "k*exp(-r)")(r=R)
    assert torch.allclose(energy, K * (-R).exp() ** 2 + R) and torch.allclose(slope, K * (-R).exp())


def test_a_slice_of_the_terms():
    program = bound("k*r^2+s", "k")
    whole, part = program(r=R), program(slice(1, 3), r=R[1:3])
    assert torch.equal(part[0], whole[0][1:3]) and torch.equal(part[1], whole[1][1:3])


def test_outputs_that_do_not_vary_keep_their_shape():
    by_parameter, constant = bound("k*s", "7")(r=R)
    assert by_parameter.shape == (3, 1) and torch.equal(by_parameter, K * S)
    assert constant.ndim == 0 and constant.item() == 7


def test_what_depends_on_parameters_alone_is_computed_in_double_precision():
    parameters = {"k": torch.tensor([1e-9]).double().numpy()}
    (found,) = bound("((1+k)-1)*r/k", parameters=parameters, dtype=torch.float32)(r=torch.ones(1, 1))
    (alike,) = bound("(cos(1+k)-cos(1))*r/k", parameters=parameters, dtype=torch.float32)(r=torch.ones(1, 1))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(1.0, rel=1e-5)
    assert alike.item() == pytest.approx(-math.sin(1), rel=1e-5)


def test_temporaries_are_forgotten_after_their_last_use():
    instructions = dis.get_instructions(bound("exp(sin(cos(r))+r)").run)
    assert sum(i.opname == "DELETE_FAST" for i in instructions) >= 3
