"""OpenMMTarget: choice of backend, checks, isolation of bad rows, derivatives."""

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.targets import BackendMismatchError, UnsupportedForceError, openmm_target

KELVIN = 300 * unit.kelvin


def pair(force=None, **kwargs):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(kwargs.get("mass", 10.0))
    if force is not None:
        system.addForce(force)
    return system


def bond(k=1000.0):
    force = openmm.HarmonicBondForce()
    force.addBond(0, 1, 0.15, k)
    return force


def centroid_bond():
    force = openmm.CustomCentroidBondForce(2, "50*(distance(g1,g2)-0.2)^2")
    force.addGroup([0])
    force.addGroup([1])
    force.addBond([0, 1])
    return force


X = torch.tensor([[[0.0, 0.0, 0.0], [0.2, 0.1, 0.0]]], dtype=torch.float64)


def test_reduced_potential_is_energy_over_kt():
    target = OpenMMTarget(pair(bond()), KELVIN)
    r = 0.05**0.5
    assert target.reduced_potential(X).item() == pytest.approx(500 * (r - 0.15) ** 2 / (8.31446261815324e-3 * 300))
    assert target.n_evaluations == 1 and target.backend == "torch" and target.translation_invariant


def test_auto_takes_openmm_for_other_forces_and_says_why():
    target = OpenMMTarget(pair(centroid_bond()), KELVIN)
    assert target.backend == "openmm" and "CustomCentroidBondForce" in target.backend_reason
    expected = 50 * (0.05**0.5 - 0.2) ** 2 / (8.31446261815324e-3 * 300)
    assert target.reduced_potential(X).item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(UnsupportedForceError, match="CustomCentroidBondForce"):
        OpenMMTarget(pair(centroid_bond()), KELVIN, backend="torch")


def test_external_force_breaks_translation_invariance():
    force = openmm.CustomExternalForce("x^2")
    force.addParticle(0, [])
    assert not OpenMMTarget(pair(force), KELVIN).translation_invariant


@pytest.mark.parametrize(
    "options",
    [{"backend": "torch"}, {"backend": "openmm", "platform": "Reference"}, {"backend": "openmm", "platform": "CPU"}],
)
def test_bad_rows_stay_alone(options):
    molecule = load_system("alanine-dipeptide")
    target = molecule.target(**options)
    good = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    x = good.repeat(5, 1, 1)
    x[1, 3, 0], x[2, 0, 1] = torch.nan, torch.inf
    x[3, 4] = x[3, 9]
    u, score, valid = target.reduced_potential_and_score(x, return_mask=True)
    assert valid.tolist() == [True, False, False, False, True]
    assert u[~valid].isposinf().all() and (score[~valid] == 0).all()
    alone = target.reduced_potential_and_score(good[None])
    assert torch.allclose(u[[0, 4]], alone[0], rtol=1e-6) and torch.allclose(score[4], alone[1][0], rtol=1e-3, atol=1)


@pytest.mark.parametrize("backend", ["torch", "openmm"])
def test_second_derivatives(backend):
    target = OpenMMTarget(pair(bond(50.0)), KELVIN, backend=backend, platform="Reference")
    x = X.clone().requires_grad_()
    loose = {"eps": 1e-5, "atol": 1e-4}
    assert torch.autograd.gradcheck(target.reduced_potential, x, **loose)
    assert torch.autograd.gradcheck(target.score, x, **loose)


def constrained(system):
    system.addConstraint(0, 1, 0.1)


def with_virtual_site(system):
    system.addParticle(0.0)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def with_barostat(system):
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def massless(system):
    system.setParticleMass(1, 0.0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (constrained, "constraints=None"),
        (with_virtual_site, "virtual sites"),
        (with_barostat, "removeForce"),
        (massless, "mass zero"),
    ],
)
def test_what_cannot_be_sampled_is_refused(spoil, message):
    system = pair(bond())
    spoil(system)
    with pytest.raises(ValueError, match=message):
        OpenMMTarget(system, KELVIN)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="without a unit"):
        OpenMMTarget(pair(bond()), 300)
    with pytest.raises(ValueError, match="backend is 'cuda'"):
        OpenMMTarget(pair(bond()), KELVIN, backend="cuda")
    with pytest.raises(ValueError, match="topology has 22 atoms"):
        OpenMMTarget(pair(bond()), KELVIN, load_system("alanine-dipeptide").topology)


def test_disagreement_with_reference_raises(monkeypatch):
    translate = openmm_target.translate_system
    monkeypatch.setattr(openmm_target, "translate_system", lambda system: translate(pair(bond(1001.0))))
    with pytest.raises(BackendMismatchError, match="forces of backend 'torch' differ"):
        OpenMMTarget(pair(bond()), KELVIN)


def test_periodic_systems_go_to_openmm():
    force = openmm.NonbondedForce()
    for charge in (0.5, -0.5):
        force.addParticle(charge, 0.3, 0.5)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    target = OpenMMTarget(pair(force), KELVIN, positions=X[0].numpy() * 2)
    assert target.backend == "openmm" and "cutoff or periodic" in target.backend_reason
