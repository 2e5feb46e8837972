"""The density over internal coordinates: derivatives, periodicity, what it refuses."""

import math

import openmm
import pytest
import torch

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.coordinates import InternalTarget

MOLECULE = load_system("alanine-dipeptide")
CARTESIAN = MOLECULE.target()
TARGET = InternalTarget(CARTESIAN, MOLECULE.positions)
X = torch.as_tensor(MOLECULE.positions._value)


def near(n, spread=0.3, seed=0):
    noise = torch.randn(n, 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return TARGET.from_cartesian(X[None]) + spread * noise


def test_energy_and_score():
    y = near(5)
    u, score = TARGET.reduced_potential_and_score(y)
    volume = TARGET.coordinates.log_jacobian(y * TARGET.widths) + TARGET.widths.log().sum()
    torch.testing.assert_close(u, CARTESIAN.reduced_potential(TARGET.to_cartesian(y)) - volume)
    step = 1e-5 * torch.eye(60, dtype=torch.float64)
    ahead, behind = (torch.stack([TARGET.reduced_potential(y + s * e) for e in step], 1) for s in (1, -1))
    torch.testing.assert_close(-score, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-5)


def test_derivatives_for_torch():
    y = near(2).requires_grad_()
    u, score = TARGET.reduced_potential_and_score(y)
    (first,) = torch.autograd.grad(u.sum(), y, retain_graph=True)
    torch.testing.assert_close(first, -score)
    v = torch.randn(2, 60, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (product,) = torch.autograd.grad((score * v).sum(), y)
    ahead, behind = (TARGET.score(y.detach() + s * 1e-4 * v) for s in (1, -1))
    torch.testing.assert_close(product, (ahead - behind) / 2e-4, rtol=1e-3, atol=1e-3)


def test_torsions_are_lifted():
    y = near(3)
    turned = y.clone()
    turned[:, TARGET.coordinates.torsions] += TARGET.turn * torch.randint(-3, 4, TARGET.turn.shape)
    torch.testing.assert_close(TARGET.reduced_potential(turned), TARGET.reduced_potential(y))
    torch.testing.assert_close(TARGET.wrap(turned), TARGET.wrap(y))
    assert (TARGET.wrap(turned)[:, TARGET.coordinates.torsions].abs() <= TARGET.turn / 2).all()


def test_widths_change_units_alone():
    y = near(3)
    other = InternalTarget(CARTESIAN, MOLECULE.positions, widths=2 * TARGET.widths)
    assert other.identity() == TARGET.identity() != CARTESIAN.identity()
    difference = TARGET.reduced_potential(y) - other.reduced_potential(y / 2)
    torch.testing.assert_close(difference, torch.full_like(difference, 60 * math.log(2)))
    with pytest.raises(ValueError, match="give 60 positive numbers"):
        InternalTarget(CARTESIAN, MOLECULE.positions, widths=[1.0])


def test_out_of_range_and_mirrored():
    y = near(3, spread=0.05)
    y[0, 0] = -1.0
    y[1, TARGET.coordinates.angles.start] = math.pi / 0.07 + 1
    u, score = TARGET.reduced_potential_and_score(y)
    assert u.isinf().tolist() == [True, True, False] and (score[:2] == 0).all()
    mirrored = TARGET.from_cartesian(-X[None])
    before = TARGET.n_inverted
    assert TARGET.reduced_potential(mirrored).isinf().all() and TARGET.n_inverted == before + 1
    free = InternalTarget(CARTESIAN, MOLECULE.positions, chirality="free")
    torch.testing.assert_close(
        free.reduced_potential(mirrored), TARGET.reduced_potential(TARGET.from_cartesian(X[None]))
    )


def test_positions_have_their_centroid_at_zero():
    assert TARGET.to_cartesian(near(4)).mean(1).abs().max() < 1e-12


def test_evaluations_count_for_both():
    before = CARTESIAN.n_evaluations, TARGET.n_evaluations
    TARGET.reduced_potential(near(7))
    assert (CARTESIAN.n_evaluations, TARGET.n_evaluations) == (before[0] + 7, before[1] + 7)


def test_what_internal_coordinates_cannot_describe():
    with pytest.raises(TypeError, match="no topology"):
        InternalTarget(OpenMMTarget(MOLECULE.system, MOLECULE.temperature, positions=MOLECULE.positions), X)
    system = openmm.XmlSerializer.clone(MOLECULE.system)
    field = openmm.CustomExternalForce("100*z^2")
    field.addParticle(0, [])
    field.addParticle(10, [])
    system.addForce(field)
    target = OpenMMTarget(system, MOLECULE.temperature, MOLECULE.topology, positions=MOLECULE.positions)
    with pytest.raises(ValueError, match="moved and turned"):
        InternalTarget(target, X)
