"""Distances, angles and torsions: known values, OpenMM's sign, and gradients against autograd."""

import math

import openmm
import pytest
import torch

from openmm_diffsampler.targets.backends.torch_geometry import Angles, Distances, Positions, Torsions

from ..reference import particles, random_positions, reference

CPU = {"dtype": torch.float64, "device": "cpu"}
ATOMS = {
    Positions: [[2], [0], [5]],
    Distances: [[0, 1], [4, 2], [1, 5], [0, 4]],
    Angles: [[0, 1, 2], [3, 1, 5], [0, 4, 2]],
    Torsions: [[0, 1, 2, 3], [5, 1, 4, 0], [3, 0, 1, 2]],
}


def make(kind, n_atoms=6, atoms=None):
    return kind(torch.tensor(atoms or ATOMS[kind]), n_atoms, **CPU)


def one(kind, *points):
    """The value of one quantity of as many atoms as there are points."""
    geometry = make(kind, len(points), [[*range(len(points))]])
    return geometry.values(torch.tensor(points, dtype=torch.float64).unsqueeze(-1))[0].item()


def test_a_distance():
    assert one(Distances, (1.0, 2.0, 3.0), (1.0, -1.0, 7.0)) == 5.0


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 3.0, math.pi])
def test_angles(angle):
    end = (0.2 * math.cos(angle), 0.2 * math.sin(angle), 0.0)
    assert one(Angles, (0.3, 0.0, 0.0), (0.0, 0.0, 0.0), end) == pytest.approx(angle, abs=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 2, 3.0, -3.0, -math.pi / 2, -0.3])
def test_torsions_have_the_sign_of_openmm(angle):
    points = [(0.1, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.15)]
    points.append((0.1 * math.cos(angle), 0.1 * math.sin(angle), 0.2))
    force = openmm.CustomTorsionForce("theta")
    force.addTorsion(0, 1, 2, 3, [])
    openmms = reference(particles(4, force)).energy_and_forces(torch.tensor([points], dtype=torch.float64))[0]
    assert one(Torsions, *points) == pytest.approx(angle, abs=1e-12) == pytest.approx(openmms.item(), abs=1e-7)


def test_trans_is_plus_or_minus_pi():
    points = (0.1, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.15), (-0.1, 0.0, 0.2)
    assert abs(one(Torsions, *points)) == pytest.approx(math.pi)


@pytest.mark.parametrize("kind", ATOMS, ids=lambda kind: kind.__name__)
def test_gradients_are_those_of_autograd(kind):
    geometry = make(kind)
    positions = random_positions(6, batch=7).permute(1, 2, 0).contiguous().requires_grad_()
    quantity, cache = geometry.values(positions)
    slope = torch.randn(quantity.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad((quantity * slope).sum(), positions)
    given = slope / quantity if kind is Distances else slope
    assert torch.allclose(geometry.gradient(cache, given.detach()), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [Distances, Angles, Torsions], ids=lambda kind: kind.__name__)
def test_internal_quantities_exert_neither_net_force_nor_torque(kind):
    geometry = make(kind)
    positions = random_positions(6, batch=7).permute(1, 2, 0).contiguous()
    quantity, cache = geometry.values(positions)
    gradient = geometry.gradient(cache, torch.ones_like(quantity))
    torque = torch.linalg.cross(positions, gradient, dim=1).sum(0)
    assert gradient.abs().max() > 0.1
    assert torch.allclose(gradient.sum(0), torch.zeros(()).double(), atol=1e-10)
    assert torch.allclose(torque, torch.zeros(()).double(), atol=1e-10)


def test_nearly_straight_angles_have_finite_second_derivatives():
    geometry = make(Angles, 3, [[0, 1, 2]])
    x = torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.1, 0.0, 0.0]], dtype=torch.float64).unsqueeze(-1)
    x.requires_grad_()
    angle, cache = geometry.values(x)
    (second,) = torch.autograd.grad(geometry.gradient(cache, angle).square().sum(), x)
    assert second.isfinite().all()
