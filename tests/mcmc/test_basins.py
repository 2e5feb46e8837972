"""Jumps between the basins of rings and nitrogens: known weights, maps that undo each other, starts that spread."""

import copy
import math

import mdtraj as md
import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import InternalDiffusiveGibbs, OpenMMTarget, load_system
from openmm_diffsampler.mcmc.basins import FragmentBasins
from openmm_diffsampler.mcmc.conformers import Conformers, spread_starts

from .torsion_chain import TorsionChain

KT = 8.31446261815324e-3 * 300


def ring(bias=0.0, barrier=5.0):
    """Cyclohexane: two chairs, mirror images of one another, that `bias` kT·sin τ of a torsion tells apart.

    With a low `barrier` (kJ/mol of each torsion) chains go from one to the other, over boats, without help.
    """
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
        torsion.addTorsion(k, (k + 1) % 6, (k + 2) % 6, (k + 3) % 6, 3, 0.0, barrier)
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


def nitrogen(bias):
    """NHFCl, whose two hands differ by 2·`bias` kT, and nothing else."""
    system, topology = openmm.System(), md.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    elements = (md.element.nitrogen, md.element.hydrogen, md.element.fluorine, md.element.chlorine)
    atoms = [topology.add_atom(e.symbol, e, residue) for e in elements]
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for k in range(4):
        system.addParticle(elements[k].mass)
    for k in (1, 2, 3):
        topology.add_bond(atoms[0], atoms[k])
        bond.addBond(0, k, 0.14, 2.0e5)
        angle.addAngle(k, 0, k % 3 + 1, math.radians(107), 500.0)
    # dihedral(2, 0, 1, 3) is about ±115° in the two hands, and its sine changes sign where the nitrogen is flat.
    tilt = openmm.CustomTorsionForce(f"{bias * KT}*tanh(20*sin(theta))")
    tilt.addTorsion(2, 0, 1, 3, [])
    for force in (bond, angle, tilt):
        system.addForce(force)
    x = 0.14 * np.array([[0, 0, 0], [0.94, 0, -0.33], [-0.47, 0.82, -0.33], [-0.47, -0.82, -0.33]])
    return OpenMMTarget(system, 300 * unit.kelvin, topology, positions=x), torch.as_tensor(x)


TARGET, X = ring()
SAMPLER = InternalDiffusiveGibbs(TARGET, X, starts="positions")
(RING,) = SAMPLER.basins


def in_chair(wt, basins=RING):
    return (basins.label(wt.x) == basins.label(X[None])).double()


def test_chairs_of_equal_energy():
    """All chains start in one chair and half the frames end in each (4 standard errors), where none flips alone."""
    wt = SAMPLER.sample(X, 40, n_chains=192, n_warmup=60, seed=1)
    share, error = wt.expectation(in_chair(wt))
    assert error < 0.04 and abs(share - 0.5) < 4 * error
    kernel = SAMPLER.statistics[0]
    assert kernel["level"] == "basins of rings and nitrogens" and kernel["guess acceptance"] > 0.1
    alone = InternalDiffusiveGibbs(TARGET, X, basin_jumps=False, starts="positions", noise_scales=[0.1])
    assert in_chair(alone.sample(X, 50, n_chains=32, n_warmup=50, seed=1)).all()


def test_chairs_of_unequal_energy():
    """Shares of a tilted ring, and those that reweighting the untilted one gives: 4 combined standard errors."""
    target, x = ring(bias=1.0)
    wt = InternalDiffusiveGibbs(target, x).sample(x, 40, n_chains=192, n_warmup=60, seed=2)
    share, error = wt.expectation(in_chair(wt))
    plain = SAMPLER.sample(X, 40, n_chains=192, n_warmup=60, seed=3)
    weight = (plain.reduced_potential - target.reduced_potential(plain.x)).exp()
    inside = in_chair(plain)
    expected = float((weight * inside).mean() / weight.mean())
    _, spread = plain.expectation(weight * (inside - expected) / weight.mean())
    assert abs(expected - 0.5) > 0.1 and abs(share - expected) < 4 * math.hypot(error, spread)


def test_many_basins():
    """Shares of basins with jumps are those that replica exchange has without: 4 combined standard errors."""
    target, x = ring(bias=0.5, barrier=1.2)
    sampler = InternalDiffusiveGibbs(target, x)
    (basins,) = sampler.basins
    assert basins.n_basins >= 6
    ladder = {"inverse_temperatures": [1, 0.5, 0.25, 0.12], "n_leapfrog": 6}
    alone = InternalDiffusiveGibbs(target, x, basin_jumps=False, **ladder)
    with_jumps = sampler.sample(x, 200, n_chains=64, n_warmup=60, seed=4)
    without = alone.sample(x, 200, n_chains=64, n_warmup=60, seed=5)
    assert sampler.statistics[0]["guess acceptance"] > 0.05
    for k in range(basins.n_basins):
        (p, e), (q, f) = (wt.expectation((basins.label(wt.x) == k).double()) for wt in (with_jumps, without))
        assert abs(p - q) < 4 * math.hypot(e, f) + 1e-3, (k, p, q)


@pytest.mark.parametrize("bias", [0.0, 0.8])
def test_nitrogen_inverts(bias):
    """The share of a hand is 1/(1 + e^2b): 4 standard errors; tanh is ±1 but for 1 part in 10⁴ of the frames."""
    target, x = nitrogen(bias)
    sampler = InternalDiffusiveGibbs(target, x, starts="positions")
    (basins,) = sampler.basins
    assert basins.fragment.names == "nitrogen N" and basins.n_basins == 2
    wt = sampler.sample(x, 80, n_chains=192, n_warmup=60, seed=6)
    sine = torch.as_tensor(md.compute_dihedrals(wt.trajectory, [[2, 0, 1, 3]])[:, 0]).sin()
    share, error = wt.expectation((sine > 0).double())
    assert error < 0.03 and abs(share - 1 / (1 + math.exp(2 * bias))) < 4 * error


def test_jumps_are_learned_in_warm_up():
    """A ring that does not leave its chairs by itself gets several jumps, most between them; then all is frozen."""
    target, x = ring(bias=1.0)
    sampler = InternalDiffusiveGibbs(target, x)

    def learned(n_draws):
        sampler.sample(x, n_draws, n_chains=64, n_warmup=100, seed=1)
        return sampler.kernels[0].shares.state_dict()

    assert learned(1) == learned(20)
    kernel = sampler.kernels[0]
    (weights,) = kernel.shares.weights
    assert 2 <= kernel.shares.trials.n_trials <= 16
    assert weights[:2].sum() > 0.7 and 1.5 < weights[0] / weights[1] < 6
    (entries,) = kernel.entries.values()
    assert len(entries) == sampler.basins[0].n_basins
    assert kernel.counts["guess"] == kernel.parts["0"] == list(map(sum, zip(*entries, strict=True)))
    assert all(accepted <= tried for accepted, tried in entries) and entries[1][0] > 0


def test_maps_undo_each_other():
    """From basin k to l and back is where it was, and volumes are reciprocal, as differences of the map have it."""
    target, x = ring(barrier=1.2)
    sampler = InternalDiffusiveGibbs(target, x)
    (basins,), internal = sampler.basins, sampler.target
    y = internal.from_cartesian(sampler.sample(x, 5, n_chains=20, n_warmup=20, seed=7).x)
    here = basins.label(internal.to_cartesian(y))
    there = (here + 1 + torch.arange(len(here)) % (basins.n_basins - 1)) % basins.n_basins
    mapped, log_volume, possible = basins.mapped(internal, y, here, there)
    back, log_back, _ = basins.mapped(internal, mapped, there, here)
    assert possible.double().mean() > 0.5 and len(there.unique()) == basins.n_basins
    torch.testing.assert_close(log_back, -log_volume)
    torch.testing.assert_close(internal.wrap(back)[possible], internal.wrap(y)[possible])
    row = int(possible.nonzero()[0])
    one = lambda v: basins.mapped(internal, v[None], here[row : row + 1], there[row : row + 1])[0][0]  # noqa: E731
    jacobian = torch.autograd.functional.jacobian(one, y[row])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_volume[row])


def test_conformers_are_minima_of_all_basins():
    found = SAMPLER.conformers
    assert (found.u.diff() >= 0).all() and float(found.u.max() - found.u[0]) <= 16
    state = SAMPLER.target.reduced_potential_and_score(found.y)
    assert state[1].norm(dim=1).median() < 0.06
    torch.testing.assert_close(SAMPLER.target.to_cartesian(found.y), found.x)
    assert RING.lowest.sort().values[:2].abs().max() < 0.01 and RING.free_energies[:2].abs().max() < 0.1


def test_chains_start_spread_over_the_basins():
    sampler = InternalDiffusiveGibbs(TARGET, X)
    state = sampler._start(X, 16)
    labels = RING.label(sampler.target.to_cartesian(state.x))
    low = (sampler.basins[0].lowest < 10).sum()
    assert torch.bincount(labels).max() <= -(-16 // int(low)) and len(labels.unique()) == low
    together = sampler._start(X[None].repeat(16, 1, 1) + 1e-4 * torch.arange(16)[:, None, None], None)
    assert len(RING.label(sampler.target.to_cartesian(together.x)).unique()) == 1  # what is given one by one is kept
    single = Conformers(sampler.conformers.y[:1], sampler.conformers.x[:1], sampler.conformers.u[:1])
    assert torch.equal(spread_starts(single, [], 3), single.y.repeat(3, 1))


def test_starts_are_checked():
    with pytest.raises(ValueError, match="starts is 'anywhere'; supported are 'conformers', 'positions'"):
        InternalDiffusiveGibbs(TARGET, X, starts="anywhere")


def test_stereocentres_stay_in_the_search():
    molecule = load_system("alanine-dipeptide-vacuum")
    target = molecule.target()
    sampler = InternalDiffusiveGibbs(target, molecule.positions)
    assert not sampler.basins  # nitrogens of amides are flat
    assert sampler.target.handedness.is_kept(sampler.conformers.x).all()
    phi = md.compute_phi(md.Trajectory(sampler.conformers.x.numpy(), target.topology))[1]
    assert (phi > 0.5).any() and (phi < -0.5).any()


def test_resumed_run_is_the_same(tmp_path):
    def run(folder, n_draws):
        return SAMPLER.sample(X, n_draws, n_chains=6, n_warmup=9, seed=3, checkpoint=folder)

    whole = run(None, 12)
    run(tmp_path, 5)
    assert torch.equal(whole.x, run(tmp_path, 12).x)


def test_basins_and_starts_of_the_machine_that_began_the_run_are_kept(tmp_path):
    """Another processor may find other conformers; here another number of evaluations does."""

    def run(n_search, folder, n_draws):
        sampler = InternalDiffusiveGibbs(TARGET, X, n_search=n_search)
        wt = sampler.sample(X, n_draws, n_chains=6, n_warmup=9, seed=3, checkpoint=folder)
        return wt.x, sampler

    whole, began = run(30_000, None, 12)
    run(30_000, tmp_path, 5)
    other, ended = run(15_000, tmp_path, 12)
    assert torch.equal(whole, other)
    assert len(began.conformers) != len(ended.conformers)
    for mine, theirs in zip(began.basins, ended.basins, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine.tensors().values(), theirs.tensors().values(), strict=True))


def test_basins_of_another_molecule_are_refused():
    tensors = RING.tensors()
    assert FragmentBasins.from_tensors(RING.fragment, tensors).n_basins == RING.n_basins
    for broken in ({}, tensors | {"minima": tensors["minima"][:, 1:]}, tensors | {"lowest": tensors["lowest"][:1]}):
        with pytest.raises(ValueError, match="do not fit this molecule"):
            FragmentBasins.from_tensors(RING.fragment, broken)


def test_embeddings_find_rings_that_hot_chains_do_not(monkeypatch):
    """No hot chain flips a ring of such barriers; without RDKit, or if it cannot read the molecule, all goes on."""
    pytest.importorskip("rdkit")
    target, x = ring(barrier=60.0)

    def basins():
        return InternalDiffusiveGibbs(target, x, n_search=30_000).basins

    (found,) = basins()
    assert (found.lowest[:2] < 0.01).all()
    assert torch.equal(found.features, basins()[0].features)
    for error in (ImportError, ValueError):

        def refusing(*_, error=error):
            raise error

        monkeypatch.setattr("openmm_diffsampler.mcmc.conformers.rdkit_conformers", refusing)
        assert not basins()


def test_charges_that_fall_into_each_other_are_no_conformer():
    """All cis, the ends of the chain meet, and nothing keeps their charges apart, as of an acid's hydrogen."""
    chain = TorsionChain((0.0, 0.0, 0.0), height=5.0)
    system, attraction = copy.deepcopy(chain.target.system), openmm.CustomBondForce("-70/r")
    attraction.addBond(0, 5, [])
    system.addForce(attraction)
    target = OpenMMTarget(system, 300 * unit.kelvin, chain.target.topology, positions=chain.start.numpy())
    sampler = InternalDiffusiveGibbs(target, chain.start, n_search=30_000)
    ends = (sampler.conformers.x[:, 0] - sampler.conformers.x[:, 5]).norm(dim=1)
    assert len(ends) and ends.min() > 0.05


def test_no_rows_are_no_positions():
    """Where no jump of a sweep is accepted, none is looked at."""
    y = SAMPLER.target.from_cartesian(X[None])
    assert SAMPLER.target.to_cartesian(y[:0]).shape == (0, *X.shape) and len(RING.label(X[None][:0])) == 0
