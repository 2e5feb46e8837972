"""Diffusive Gibbs sampling against known answers; every comparison states the z-score that it allows."""

import math

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import HMC, MALA, DiffusiveGibbs, GaussianMixture, OpenMMTarget, load_system

UNBALANCED = GaussianMixture(torch.tensor([[-4.0], [4.0]]), scales=1.0, weights=[0.2, 0.8])


def share_of_right_mode(**options):
    sampler = DiffusiveGibbs(UNBALANCED, [4.0], step_size=0.5, n_leapfrog=3, **options)
    start = torch.tensor([[-4.0], [4.0]]).repeat(200, 1)
    return sampler.sample(start, 200, n_warmup=100, seed=1).expectation(lambda x: (x[:, 0] > 0).double())


def test_unbalanced_modes_within_three_standard_errors():
    share, error = share_of_right_mode()
    assert error < 0.01 and abs(share - 0.8) < 3 * error


def test_without_correction_the_weights_are_wrong():
    share, error = share_of_right_mode(correct_guess=False)
    assert abs(share - 0.8) > 8 * error


@pytest.mark.parametrize(
    "make",
    [
        lambda t: DiffusiveGibbs(t, [0.05, 0.01], step_size=0.01),
        lambda t: HMC(t, step_size=0.01, n_leapfrog=5),
        lambda t: MALA(t, step_size=0.01),
    ],
    ids=["digs", "hmc", "mala"],
)
def test_oscillator_variance_from_a_cold_start(make):
    # An anisotropic OpenMM oscillator: ⟨x²⟩ = kT/k in every direction; 4 standard errors.
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce("0.5*(1000*x^2+4000*y^2+16000*z^2)")
    force.addParticle(0, [])
    system.addForce(force)
    target = OpenMMTarget(system, 300 * unit.kelvin)
    wt = make(target).sample(torch.zeros(1, 3), 300, n_chains=100, n_warmup=200, seed=2)
    kt = 8.31446261815324e-3 * 300
    for axis, k in enumerate((1000, 4000, 16000)):
        value, error = wt.expectation(lambda x, axis=axis: x[:, 0, axis] ** 2)
        assert abs(value - kt / k) < 4 * error


def test_warmup_leaves_no_bias():
    """Chains that start in equilibrium stay there, from the very first draw after warm-up: 4 standard errors."""
    generator = torch.Generator().manual_seed(5)
    start = UNBALANCED.sample(20_000, generator)
    wt = DiffusiveGibbs(UNBALANCED, [2.0, 0.5], step_size=5.0).sample(start, 1, n_warmup=20, seed=3)
    right = (wt.x[:, 0] > 0).double()
    assert abs(right.mean() - 0.8) < 4 * math.sqrt(0.16 / 20_000)
    moment = wt.x[:, 0][right.bool()]
    assert abs(moment.mean() - 4) < 4 / math.sqrt(len(moment))


def test_step_sizes_adapt_and_then_stand_still():
    target = GaussianMixture(torch.zeros(1, 10), scales=1.0)
    sampler = HMC(target, step_size=10.0, n_leapfrog=5)
    sampler.sample(torch.zeros(10), 100, n_chains=100, n_warmup=300)
    [row] = sampler.statistics
    assert abs(row["HMC acceptance"] - 0.8) < 0.05
    assert row["step size"] == sampler.kernels[0].step_size.value and row["evaluations"] == 100 * 100 * 5


def test_rotations_keep_chirality_bonds_and_angles():
    molecule = load_system("alanine-dipeptide")
    target = molecule.target()
    sampler = DiffusiveGibbs(target, [], step_size=0.001, torsion_scale=1.5)
    wt = sampler.sample(molecule.positions, 20, n_chains=20, n_warmup=0)
    bonds = torch.tensor([[a.index, b.index] for a, b in target.topology.bonds])
    lengths = (wt.x[:, bonds[:, 0]] - wt.x[:, bonds[:, 1]]).norm(dim=-1)
    assert (lengths - lengths[0]).abs().max() < 1e-9
    assert 0.05 < sampler.statistics[0]["guess acceptance"] < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_scales": []}, "no noise level"),
        ({"noise_scales": [-1.0]}, "must be positive"),
        ({"noise_scales": [1.0], "denoiser": "ula"}, "denoiser is 'ula'"),
        ({"noise_scales": [1.0], "torsion_scale": 1.0}, "bonds of the molecule"),
        ({"noise_scales": [[1.0, 2.0]]}, "2 scales and Gaussian mixture 1"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        DiffusiveGibbs(UNBALANCED, step_size=1.0, **options)


def test_wrong_starts():
    sampler = MALA(UNBALANCED, step_size=1.0)
    with pytest.raises(ValueError, match=r"initial positions of chains \[1\] hold NaN"):
        sampler.sample(torch.tensor([[0.0], [torch.nan]]), 1)
    with pytest.raises(ValueError, match=r"not finite at the start of chains \[1\]"):
        sampler.sample(torch.tensor([[0.0], [1e160]], dtype=torch.float64), 1)
    with pytest.raises(ValueError, match="shape"):
        sampler.sample(torch.zeros(3, 2), 1)
