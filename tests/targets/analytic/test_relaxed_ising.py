import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate

from openmm_diffsampler.targets.analytic import RelaxedIsing
from openmm_diffsampler.targets.analytic.relaxed_ising import ising_log_partition

CRITICAL = 2 / math.log(1 + math.sqrt(2))


def _states(size):
    """All 2^N spin states (2^N, L, L) and their Σ_<ij> s_i s_j."""
    s = np.array(list(itertools.product([-1, 1], repeat=size**2)), dtype=np.int8).reshape(-1, size, size)
    return s, sum((s * np.roll(s, -1, axis)).sum((1, 2), dtype=int) for axis in (1, 2))


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("temperature", [0.5, 2.0, CRITICAL, 2.7, 30.0])
def test_log_partition_is_that_of_enumeration(size, temperature):
    bonds = _states(size)[1] / temperature
    expected = bonds.max() + math.log(np.exp(bonds - bonds.max()).sum())
    assert ising_log_partition(size, temperature) == pytest.approx(expected, rel=1e-12)


def test_log_partition_of_large_lattices():
    assert ising_log_partition(16, 2.0) == pytest.approx(263.30, abs=5e-3)
    # Onsager's free energy a site at the critical temperature: ln 2/2 + 2G/π, with Catalan's constant G.
    assert ising_log_partition(128, CRITICAL) / 128**2 == pytest.approx(0.929695398341, abs=1e-4)
    assert ising_log_partition(64, 0.05) == pytest.approx(2 * 64**2 / 0.05 + math.log(2), rel=1e-12)
    assert ising_log_partition(64, 1e6) == pytest.approx(64**2 * math.log(2), rel=1e-9)


@pytest.mark.parametrize(("size", "temperature"), [(2, 1.5), (3, 2.0)])
def test_log_Z_is_that_of_the_sum_over_spins(size, temperature):  # noqa: N802
    """The density at a point is the sum over all spin states of N(x; 0, C) exp(sᵀx)."""
    target = RelaxedIsing(size, temperature)
    s = _states(size)[0].reshape(-1, size**2).astype(float)
    covariance = target.covariance.numpy()
    x = np.random.default_rng(0).normal(size=(4, size**2))
    log_normal = -0.5 * (
        np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x) + np.linalg.slogdet(2 * math.pi * covariance)[1]
    )
    expected = -(log_normal + np.log(np.exp(x @ s.T).sum(1)))
    assert np.allclose(target.reduced_potential(torch.as_tensor(x)).numpy(), expected, rtol=1e-10)
    exponents = 0.5 * np.einsum("ni,ij,nj->n", s, covariance, s)
    assert target.log_Z == pytest.approx(np.log(np.exp(exponents).sum()), rel=1e-12)


def test_log_Z_is_that_of_quadrature():  # noqa: N802
    """Four sites, ∫exp(−u) on a grid in the eigenvectors of the covariance, where the density is smooth and local."""
    target = RelaxedIsing(2, 4.0, margin=1.0)
    values, vectors = np.linalg.eigh(target.covariance.numpy())
    axes = [np.linspace(-1, 1, 41) * (8 * math.sqrt(v) + 2 * v) for v in values]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    density = np.exp(-target.reduced_potential(torch.as_tensor(mesh.reshape(-1, 4) @ vectors.T)).numpy())
    density = density.reshape(mesh.shape[:-1])
    for axis in reversed(axes):
        density = integrate.trapezoid(density, axis)
    assert math.log(density) == pytest.approx(target.log_Z, abs=1e-6)


@pytest.mark.parametrize("size", [2, 3, 8])
def test_coupling_and_margin(size):
    target = RelaxedIsing(size, 2.5, margin=0.2)
    covariance = target.covariance.numpy()
    assert np.linalg.eigvalsh(covariance)[0] == pytest.approx(0.2, abs=1e-10)
    off = covariance - np.diag(np.diag(covariance))
    assert off.sum(0) == pytest.approx(np.full(size**2, 4 / 2.5))
    assert np.count_nonzero(off[0]) == (2 if size == 2 else 4)
    if size % 2 == 0:
        assert target.shift == pytest.approx(4 / 2.5 + 0.2)


def test_score_is_the_gradient():
    target = RelaxedIsing(4, 2.0)
    x = 5 * torch.randn(20, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    u, score = target._evaluate(x)
    gradient = torch.autograd.grad(u.sum(), x)[0]
    precision = torch.linalg.inv(target.covariance)
    assert torch.allclose(score, -gradient, rtol=1e-9, atol=1e-9)
    assert torch.allclose(score, (x.tanh() - x @ precision).detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", [1.8, 2.5])
def test_chains_have_the_energies_of_enumeration(temperature):
    """8,000 draws on 3×3 against all 512 states: Σss, its square, |Σs|, Σs, corner pair; |z| < 4 (fixed seed)."""
    target = RelaxedIsing(3, temperature)
    states, bonds = _states(3)
    p = np.exp((bonds - bonds.max()) / temperature)
    p /= p.sum()
    drawn = target._chains(8000, torch.Generator().manual_seed(0), 64).numpy().reshape(-1, 3, 3)
    functions = [
        lambda s: sum((s * np.roll(s, -1, a)).sum((1, 2), dtype=float) for a in (1, 2)),
        lambda s: sum((s * np.roll(s, -1, a)).sum((1, 2), dtype=float) for a in (1, 2)) ** 2,
        lambda s: np.abs(s.sum((1, 2), dtype=float)),
        lambda s: s.sum((1, 2), dtype=float),
        lambda s: 1.0 * s[:, 0, 0] * s[:, 1, 1],
    ]
    for f in functions:
        found, mean = f(drawn), float(p @ f(states))
        assert abs(found.mean() - mean) < 4 * found.std() / math.sqrt(len(found))


@pytest.mark.parametrize("temperature", [2.0, CRITICAL, 2.7])
def test_chains_have_the_energy_of_the_partition_function(temperature):
    """500 draws on 16×16: the mean of Σss is d ln Z/d(1/T); |z| < 4 (fixed seed)."""
    h, k = 1e-5, 1 / temperature
    mean = (ising_log_partition(16, 1 / (k + h)) - ising_log_partition(16, 1 / (k - h))) / (2 * h)
    s = RelaxedIsing(16, temperature)._chains(500, torch.Generator().manual_seed(1), 64).numpy().reshape(-1, 16, 16)
    found = sum((s * np.roll(s, -1, a)).sum((1, 2)) for a in (1, 2))
    assert abs(found.mean() - mean) < 4 * found.std() / math.sqrt(len(found))


def test_samples_follow_the_density():
    """Identities of any density, E[s_i] = 0 and E[x_i s_i(x)] = −1 for its score s, and spins of x; |z| < 4."""
    target = RelaxedIsing(4, 2.3)
    generator = torch.Generator().manual_seed(2)
    x = target.sample(8000, generator)
    score = target.score(x)
    for values, mean in ((score.mean(1), 0.0), ((x * score).mean(1), -1.0), (x.mean(1), 0.0)):
        assert abs(float(values.mean()) - mean) < 4 * float(values.std()) / math.sqrt(len(x))
    states, bonds = _states(4)
    p = np.exp((bonds - bonds.max()) / 2.3)
    s = target.spins(x, generator).numpy().reshape(-1, 4, 4)
    found = sum((s * np.roll(s, -1, a)).sum((1, 2)) for a in (1, 2))
    assert abs(found.mean() - float(p @ bonds / p.sum())) < 4 * found.std() / math.sqrt(len(found))
    assert len(states) == 2**16


def test_samples_come_from_the_seed():
    target = RelaxedIsing(4, 2.0)
    a, b = (target.sample(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b) and target.sample(0, torch.Generator()).shape == (0, 16)
    single = RelaxedIsing(4, 2.0, dtype=torch.float32).sample(5, torch.Generator().manual_seed(3))
    assert single.dtype == torch.float32


def test_a_large_field_does_not_overflow():
    u, score = RelaxedIsing(2, 2.0).reduced_potential_and_score(torch.full((1, 4), 1e4).double())
    assert u.isfinite().all() and score.isfinite().all()


@pytest.mark.parametrize("size", [1, 0, 2.0, True, "4"])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(ValueError, match="give an integer of at least 2"):
        RelaxedIsing(size, 2.0)


def test_wrong_parameters_are_refused():
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"temperature is .*; it must be positive"):
            RelaxedIsing(4, value)
        with pytest.raises(ValueError, match=r"margin is .*; it must be positive"):
            RelaxedIsing(4, 2.0, margin=value)


def test_whitened_fields_have_the_same_density():
    """u(y) = u(x) − ½ ln|C| at x = C^½ y, scores by the chain rule, and the same samples."""
    plain, whitened = RelaxedIsing(4, 2.0), RelaxedIsing(4, 2.0, whitened=True)
    y = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = 0.5 * float(torch.linalg.slogdet(plain.covariance).logabsdet)
    torch.testing.assert_close(
        whitened.reduced_potential(y), plain.reduced_potential(whitened.field(y)) - half, rtol=1e-10, atol=1e-10
    )
    y.requires_grad_()
    _, score = whitened.reduced_potential_and_score(y)
    (gradient,) = torch.autograd.grad(plain.reduced_potential(whitened.field(y)).sum(), y)
    torch.testing.assert_close(score, -gradient)
    assert whitened.log_Z == plain.log_Z
    draws = [target.sample(20, torch.Generator().manual_seed(1)) for target in (plain, whitened)]
    torch.testing.assert_close(whitened.field(draws[1]), draws[0])


@pytest.mark.parametrize("whitened", [False, True])
def test_its_mirror_image_is_as_likely_and_told_apart(whitened):
    target = RelaxedIsing(4, 2.0, whitened=whitened)
    x = target.sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(target.reduced_potential(-x), target.reduced_potential(x))
    up = target.field(x).sum(1) > 0
    assert torch.equal((x * target.mirror).sum(1) > 0, up) and 0 < int(up.sum()) < 50
