"""Jumps between the chairs of a ring whose mirror image has the same energy, or a known bias."""

import math

import mdtraj as md
import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmm_diffsampler.mcmc.ring_kernel import RingJumpKernel

from openmm_diffsampler import InternalDiffusiveGibbs, OpenMMTarget

KT = 8.31446261815324e-3 * 300


def ring(bias=0.0):
    """Cyclohexane: two chairs, mirror images of one another, that `bias` kT·sin τ of a torsion tells apart."""
    bond, angle, torsion = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    system, topology = openmm.System(), md.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    atoms = [topology.add_atom(f"C{k}", md.element.carbon, residue) for k in range(6)]
    atoms += [topology.add_atom(f"H{k}", md.element.hydrogen, residue) for k in range(12)]
    corner = np.array([[math.cos(k * math.pi / 3), math.sin(k * math.pi / 3), 0.18 * (-1) ** k] for k in range(6)])
    up = np.array([0, 0, 1.0])
    x = [*(0.146 * corner)]
    for _ in range(18):
        system.addParticle(12)
    for k in range(6):
        topology.add_bond(atoms[k], atoms[(k + 1) % 6])
        bond.addBond(k, (k + 1) % 6, 0.153, 2.0e5)
        angle.addAngle(k, (k + 1) % 6, (k + 2) % 6, math.radians(111), 500.0)
        torsion.addTorsion(k, (k + 1) % 6, (k + 2) % 6, (k + 3) % 6, 3, 0.0, 5.0)
        for n in (0, 1):
            hydrogen = 6 + 2 * k + n
            topology.add_bond(atoms[k], atoms[hydrogen])
            bond.addBond(k, hydrogen, 0.109, 2.0e5)
            for other in ((k + 1) % 6, (k - 1) % 6):
                angle.addAngle(other, k, hydrogen, math.radians(109.5), 300.0)
            outward = corner[k] * [1, 1, 0]
            side = up * (-1) ** k if n == 0 else outward - 0.3 * up * (-1) ** k
            x.append(0.146 * corner[k] + 0.109 * side / np.linalg.norm(side))
        angle.addAngle(6 + 2 * k, k, 7 + 2 * k, math.radians(107), 300.0)
    tilt = openmm.CustomTorsionForce(f"{bias * KT}*sin(theta)")
    tilt.addTorsion(0, 1, 2, 3, [])
    for force in (bond, angle, torsion, *([tilt] if bias else [])):
        system.addForce(force)
    return OpenMMTarget(system, 300 * unit.kelvin, topology, positions=np.array(x)), torch.as_tensor(np.array(x))


TARGET, X = ring()
SAMPLER = InternalDiffusiveGibbs(TARGET, X)


def chair(puckers, wt):
    return (puckers.pucker(wt.x) == puckers.pucker(X[None])).double()


def test_chairs_of_equal_energy():
    """All chains start in one chair and half the frames end in each (4 standard errors), where none flips alone."""
    (puckers,) = SAMPLER.puckers
    wt = SAMPLER.sample(X, 150, n_chains=64, n_warmup=60, seed=1)
    share, error = wt.expectation(chair(puckers, wt))
    assert error < 0.03 and abs(share - 0.5) < 4 * error
    assert SAMPLER.statistics[0]["level"] == "ring puckers" and SAMPLER.statistics[0]["guess acceptance"] > 0.05
    alone = InternalDiffusiveGibbs(TARGET, X, ring_jumps=False, noise_scales=[0.1])
    assert chair(puckers, alone.sample(X, 50, n_chains=32, n_warmup=50, seed=1)).all()


def test_chairs_of_unequal_energy():
    """Shares of a tilted ring, and those that reweighting the untilted one gives: 4 combined standard errors."""
    target, x = ring(bias=1.0)
    sampler = InternalDiffusiveGibbs(target, x)
    (puckers,) = SAMPLER.puckers
    wt = sampler.sample(x, 150, n_chains=64, n_warmup=60, seed=2)
    share, error = wt.expectation(chair(puckers, wt))
    plain = SAMPLER.sample(X, 150, n_chains=64, n_warmup=60, seed=3)
    weight = (plain.reduced_potential - target.reduced_potential(plain.x)).exp()
    inside = chair(puckers, plain)
    expected = float((weight * inside).mean() / weight.mean())
    _, spread = plain.expectation(weight * (inside - expected) / weight.mean())
    assert abs(expected - 0.5) > 0.1 and abs(share - expected) < 4 * math.hypot(error, spread)


def test_jumps_come_back():
    """The map of one pucker undoes that of the other, and volumes are reciprocal."""
    (puckers,) = SAMPLER.puckers
    y = SAMPLER.target.from_cartesian(SAMPLER.sample(X, 5, n_chains=20, n_warmup=20, seed=4).x)
    before = puckers.pucker(SAMPLER.target.to_cartesian(y))
    there, log_volume, possible = RingJumpKernel._mapped(SAMPLER.target, puckers, y, before)
    back, log_back, _ = RingJumpKernel._mapped(SAMPLER.target, puckers, there, -before)
    assert possible[before != 0].all()
    torch.testing.assert_close(log_back, -log_volume)
    torch.testing.assert_close(SAMPLER.target.wrap(back)[before != 0], SAMPLER.target.wrap(y)[before != 0])


def test_resumed_run_is_the_same(tmp_path):
    def run(folder, n_draws):
        return SAMPLER.sample(X, n_draws, n_chains=6, n_warmup=9, seed=3, checkpoint=folder)

    whole = run(None, 12)
    run(tmp_path, 5)
    assert torch.equal(whole.x, run(tmp_path, 12).x)


def test_a_ring_that_stays_is_told(monkeypatch):
    from openmm_diffsampler.mcmc import ring_puckers

    monkeypatch.setattr(ring_puckers, "_HOT", 1.0)
    with pytest.warns(UserWarning, match="seen in one pucker only"), pytest.raises(ValueError, match="nothing to"):
        InternalDiffusiveGibbs(TARGET, X)
