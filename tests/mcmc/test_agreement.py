"""The batched sampler, the integrator and the move sample the same distribution with the same settings."""

import math
from itertools import combinations

import numpy as np
import openmm
import pytest
import torch
from openmm import unit
from openmmtools import cache, states
from scipy.stats import kstest

from openmm_diffsampler import DiffusiveGibbs, DiffusiveGibbsIntegrator, DiffusiveGibbsMove, OpenMMTarget, load_system

from .known import REFERENCE, TEMPERATURE, mean_and_error, quartic_well, two_mode_molecule

#: Settings of a sweep, by the names that all three share.
SWEEPS = {
    "well": {"noise_scales": [0.1, 0.02], "n_leapfrog": 3},
    "molecule": {"noise_scales": [(0, 0, 0.07), 0.01], "n_leapfrog": 4, "n_denoising_steps": 2},
    "cluster": {"noise_scales": [0.1, 0.02], "n_leapfrog": 5},
    "dipeptide": {"noise_scales": [0.01, 5e-4], "n_leapfrog": 8},
}
TIMESTEPS = {"well": 0.03, "molecule": 0.003, "cluster": 0.1, "dipeptide": 0.001}


def system(name):
    """System, temperature and start (n_atoms, 3) in nm."""
    if name == "well":
        return quartic_well()[0], TEMPERATURE, np.zeros((1, 3))
    if name == "molecule":
        return *two_mode_molecule()[:1], TEMPERATURE, two_mode_molecule()[1]
    loaded = load_system({"cluster": "lj13", "dipeptide": "alanine-dipeptide-vacuum"}[name])
    return loaded.system, loaded.temperature, loaded.positions.value_in_unit(unit.nanometer)


def by_batch(name, n, seed, n_chains=25):
    """n configurations in all, chain after chain."""
    of, temperature, start = system(name)
    step = {"well": 0.03, "molecule": 0.005, "cluster": 0.03, "dipeptide": 0.0015}[name]
    target = OpenMMTarget(of, temperature, positions=start)
    sampler = DiffusiveGibbs(target, step_size=step, **SWEEPS[name])
    wt = sampler.sample(torch.as_tensor(start), n // n_chains, n_chains=n_chains, n_warmup=200, seed=seed)
    return wt.x.numpy()


def by_integrator(name, n, seed, n_equilibration=300):
    of, temperature, start = system(name)
    integrator = DiffusiveGibbsIntegrator(
        temperature, timestep=TIMESTEPS[name] * unit.picosecond, seed=seed, **SWEEPS[name]
    )
    context = openmm.Context(of, integrator, REFERENCE)
    context.setPositions(start)
    integrator.step(n_equilibration)
    x = []
    for _ in range(n):
        integrator.step(1)
        x.append(context.getState(positions=True).getPositions(asNumpy=True)._value)
    return np.array(x)


def by_move(name, n, seed):
    """The sweeps of one apply are not seen, so that it takes fewer configurations farther apart."""
    of, temperature, start = system(name)
    move = DiffusiveGibbsMove(timestep=TIMESTEPS[name] * unit.picosecond, n_sweeps=10, seed=seed, **SWEEPS[name])
    thermodynamic = states.ThermodynamicState(of, temperature)
    sampler, contexts = states.SamplerState(start * unit.nanometer), cache.ContextCache(platform=REFERENCE)
    x = []
    for k in range(30 + n // 10):
        move.apply(thermodynamic, sampler, contexts)
        if k >= 30:
            x.append(sampler.positions._value.copy())
    return np.array(x)


WAYS = {"batch": by_batch, "integrator": by_integrator, "move": by_move}


def energy(name, x):
    of, temperature, start = system(name)
    return OpenMMTarget(of, temperature, positions=start).reduced_potential(torch.as_tensor(x)).numpy()


@pytest.mark.parametrize("way", WAYS)
def test_anharmonic_well(way):
    """⟨r⁴⟩ by equipartition, 4 standard errors."""
    value, error = mean_and_error((WAYS[way]("well", 6000, 1) ** 2).sum((1, 2)) ** 2)
    exact = quartic_well()[1]
    assert error < 0.06 * exact and abs(value - exact) < 4 * error


@pytest.mark.parametrize("way", WAYS)
def test_two_modes_with_noise_by_particle(way):
    """Share of the long bond by quadrature, 4 standard errors."""
    x = WAYS[way]("molecule", 6000, 2)
    share, error = mean_and_error(np.linalg.norm(x[:, 2] - x[:, 1], axis=1) > 0.2)
    assert error < 0.04 and abs(share - two_mode_molecule()[2]) < 4 * error


def all_agree(values):
    """Whether each pair of (mean, error) differs by at most 4 combined standard errors."""
    return all(abs(a - b) < 4 * math.hypot(e, f) for (a, e), (b, f) in combinations(values, 2))


def test_lennard_jones_cluster():
    """Energies and squared radii of LJ-13, by all three ways and by twice as fine a trajectory: within 4 errors."""
    runs = [way("cluster", 2000, 3) for way in WAYS.values()]
    assert all_agree([mean_and_error(energy("cluster", x)) for x in runs])
    centred = [x - x.mean(1, keepdims=True) for x in runs]
    assert all_agree([mean_and_error((x**2).sum((1, 2))) for x in centred])


def test_alanine_dipeptide():
    """Energies of alanine dipeptide in vacuum, and lengths of its bonds, by all three ways: within 4 errors."""
    molecule = load_system("alanine-dipeptide-vacuum")
    bonds = np.array([[a.index, b.index] for a, b in molecule.topology.bonds()])
    runs = [way("dipeptide", 1500, 4) for way in WAYS.values()]
    assert all_agree([mean_and_error(energy("dipeptide", x)) for x in runs])
    lengths = [np.linalg.norm(x[:, bonds[:, 0]] - x[:, bonds[:, 1]], axis=2) for x in runs]
    for bond in range(len(bonds)):
        assert all_agree([mean_and_error(length[:, bond]) for length in lengths])


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_calibration_over_40_seeds(way):
    """z-scores of the share of a mode over 40 seeds are standard normal: Kolmogorov–Smirnov p > 0.01."""
    exact, z = two_mode_molecule()[2], []
    for seed in range(1, 41):
        x = WAYS[way]("molecule", 20_000, seed)
        share, error = mean_and_error(np.linalg.norm(x[:, 2] - x[:, 1], axis=1) > 0.2, n_blocks=50)
        z.append((share - exact) / error)
    p = kstest(z, "norm").pvalue
    print(f"{way}: mean {np.mean(z):.2f}, standard deviation {np.std(z, ddof=1):.2f}, p = {p:.3f}")
    assert p > 0.01
