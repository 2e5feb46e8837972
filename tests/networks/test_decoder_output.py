"""Gaussians that end a decoder: derivatives of the energy, densities, posteriors that are known, symmetry."""

import math

import pytest
import torch

from openmm_diffsampler import DoubleWell, GaussianMixture, LennardJones, gmm40
from openmm_diffsampler.networks import Decoder
from openmm_diffsampler.networks.curvature import hessian, made_definite
from openmm_diffsampler.networks.decoder_output import DecoderOutput, denoised


def spread(target, n, seed=0):
    """Configurations (n, *event_shape) that are not special."""
    return 1.5 * target.normal(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("make", [DoubleWell, gmm40], ids=["dw4", "gmm40"])
def test_second_and_third_derivatives(make):
    """Against three derivatives by autograd of u in closed form; displacements leave 1e-5."""
    target = make()
    x, weight = spread(target, 3), torch.Generator().manual_seed(1)
    at, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    d = x[0].numel()
    weight = torch.randn(3, d, d, generator=weight, dtype=torch.float64)

    def exact(y):
        rows = []
        for k in range(3):
            (slope,) = torch.autograd.grad(target._evaluate(y[k : k + 1])[0].sum(), y, create_graph=True)
            rows.append(
                torch.stack([torch.autograd.grad(s, y, create_graph=True)[0][k].flatten() for s in slope[k].flatten()])
            )
        return torch.stack(rows)

    ours, theirs = hessian(target, at, 1e-3), exact(again)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    (ours,) = torch.autograd.grad((weight * ours).sum(), at)
    (theirs,) = torch.autograd.grad((weight * theirs).sum(), again)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_evaluations_are_counted():
    target = DoubleWell()
    x = spread(target, 5).requires_grad_()
    h = hessian(target, x, 1e-3)
    assert target.n_evaluations == 2 * 5 * 8
    h.sum().backward()
    assert target.n_evaluations == 2 * 5 * 8 * 3


def test_eigenvalues_end_within_bounds():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(50, 4, 4, generator=generator, dtype=torch.float64)
    a = a + a.mT
    a[0] = 3 * torch.ones(4, 4) + 0.4 * torch.eye(4)  # 12.4 once, with smaller diagonal elements
    a[1] = torch.diag(torch.tensor([1.0, 2.0, 0.6, 1.1]))
    least, most = torch.tensor(0.5).double(), 3.5
    found = made_definite(a, least, most)
    values = torch.linalg.eigvalsh(found)
    assert float(values.min()) > 0.5 - 1e-9 and float(values.max()) < 3.5 + 1e-9
    assert torch.equal(found[1], a[1])


CLUSTER = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [0, 1.2, 0], [1.2, 0, 1.1], [0, -1.1, 1.2]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overlapping_particles_have_a_gaussian_as_well(dtype):
    """Whose neighbours in the batch do not notice. In single precision second derivatives overflow at 2.5e-3."""
    target = LennardJones(5, dtype=dtype)
    y = CLUSTER.to(dtype).repeat(9, 1, 1)
    for row, distance in enumerate((0.0, 1e-6, 1e-3, 2.3e-3, 2.7e-3, 0.05, 0.1, 0.3)):
        y[row, 1] = y[row, 0] + torch.tensor([distance, 0, 0])
    width = torch.tensor(0.06, dtype=dtype, requires_grad=True)
    y = target.project(y).requires_grad_()
    output, alone = denoised(target, y, width, 1.0), denoised(target, y[8:], width, 1.0)
    assert float(hessian(target, y[8:], 1e-3).detach().abs().max()) > 10 and bool((alone.mean != y[8:]).any())
    torch.testing.assert_close(output.mean[8:], alone.mean)
    x = output.at(torch.randn(9, 5, 3, generator=torch.Generator().manual_seed(0), dtype=dtype))
    assert bool(x.isfinite().all()) and float(output.mean.detach().abs().max()) < 10
    (x.sum() + output.log_volume()[5:].sum()).backward()
    assert bool(width.grad.isfinite()) and bool(y.grad[5:].isfinite().all())


def test_gradients_where_the_energy_curves_down():
    """Between two modes A is 0.3/δ² whatever y: the determinant does not depend on y, and on δ as that of δ² does."""
    target = GaussianMixture([[-1.0], [1.0]], scales=0.2)
    y, width = torch.tensor([[0.02]]).double().requires_grad_(), torch.tensor(0.5).double().requires_grad_()
    of_y, of_width = torch.autograd.grad(denoised(target, y, width, 1.0).log_volume().sum(), (y, width))
    assert abs(float(of_y)) < 1e-6 and math.isclose(float(of_width), 1 / 0.5, rel_tol=1e-6)


def test_the_posterior_of_a_gaussian_is_exact():
    """Of p = N(m, S²) and noise δ at β: precision β/S² + 1/δ², mean (β m/S² + y/δ²) over it."""
    mean, scale, width, beta = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.1, 3.0]).double(), 0.5, 0.4
    target = GaussianMixture(mean.unsqueeze(0), scale.unsqueeze(0))
    y = spread(target, 4)
    output = denoised(target, y, torch.tensor(width), beta)
    precision = beta / scale**2 + 1 / width**2
    expected = (beta * mean / scale**2 + y / width**2) / precision
    torch.testing.assert_close(output.mean, expected)
    torch.testing.assert_close(output.root @ output.root.mT, torch.diag(precision).expand(4, 2, 2))


def test_where_the_energy_curves_down_the_gaussian_stays_of_the_size_of_the_noise():
    target = GaussianMixture([[-1.0], [1.0]], scales=0.2)
    output = denoised(target, torch.zeros(1, 1).double(), torch.tensor(0.5), 1.0)
    assert float(hessian(target, torch.zeros(1, 1).double(), 1e-3)) < -4 / 0.5**2
    assert 0.5 < float(1 / output.root) < 1


@pytest.mark.parametrize("curved", [False, True])
def test_the_density_is_that_of_the_draws(curved):
    """Moments and log-density of draws in an orthonormal basis of the centred space; z-scores of 4 allowed."""
    target, generator = DoubleWell(), torch.Generator().manual_seed(0)
    y, width = target.project(spread(target, 1)), torch.tensor(0.3, dtype=torch.float64)
    output = denoised(target, y, width, 1.0) if curved else DecoderOutput(target, y, width)
    n = 50_000
    many = output._replace(mean=output.mean.expand(n, 4, 2), root=output.root.expand(n, 8, 8) if curved else None)
    x = many.at(torch.randn(n, 4, 2, generator=generator, dtype=torch.float64))
    assert float(x.mean(1).abs().max()) < 1e-12
    basis = torch.linalg.svd(target.project(torch.eye(8, dtype=torch.float64).reshape(8, 4, 2)).flatten(1))[2][:6].T
    a = (x - output.mean).flatten(1) @ basis
    precision = basis.T @ (output.root[0] @ output.root[0].T) @ basis if curved else torch.eye(6).double() / width**2
    covariance = torch.linalg.inv(precision.double())
    sigma = covariance.diagonal().sqrt()
    error = (covariance.diagonal().outer(covariance.diagonal()) + covariance**2).sqrt() / n**0.5
    assert float(((a.T @ a / n - covariance).abs() / error).max()) < 4
    assert float((a.mean(0).abs() / sigma).max()) < 4 / n**0.5
    exact = torch.distributions.MultivariateNormal(torch.zeros(6).double(), covariance).log_prob(a)
    torch.testing.assert_close(many.log_density(x - many.mean), exact)
    assert abs(float(output.log_volume().sum()) - 0.5 * float(covariance.logdet())) < 1e-9


def test_curved_noise_turns_and_permutes_with_the_latent():
    target, generator = LennardJones(4), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder = Decoder(target, n_leapfrog=1, epsilon=0.002, scale=0.9, width=8, n_layers=1, curved_noise=True)
    z = target.normal(5, generator).float()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    order = torch.randperm(4, generator=generator)
    with torch.no_grad():
        here, there = decoder(z, target), decoder((z @ turn)[:, order], target)
    turn = turn.double()
    torch.testing.assert_close(there.mean, (here.mean @ turn)[:, order], rtol=1e-3, atol=1e-4)
    turned = torch.einsum("niajb,ac,bd->nicjd", (here.root @ here.root.mT).reshape(5, 4, 3, 4, 3), turn, turn)
    found = (there.root @ there.root.mT).reshape(5, 4, 3, 4, 3)
    assert float((found - turned[:, order][:, :, :, order]).abs().max() / found.abs().max()) < 1e-3
    assert float(there.mean.mean(1).abs().max()) < 1e-12


def test_gradients_reach_the_noise_and_the_latent():
    """Those of a loss of x and of log q against differences of it, where no eigenvalue is out of bounds."""
    target, generator = DoubleWell(), torch.Generator().manual_seed(0)
    y, noise = spread(target, 2), torch.randn(2, 4, 2, generator=generator, dtype=torch.float64)
    way = target.project(torch.randn(2, 4, 2, generator=generator, dtype=torch.float64))

    def loss(y, width):
        output = denoised(target, target.project(y), width, 0.7)
        return (output.at(noise) * way).sum() - output.log_volume().sum()

    at, width = y.clone().requires_grad_(), torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    of_y, of_width = torch.autograd.grad(loss(at, width), (at, width))
    h = 1e-5
    with torch.no_grad():
        along = (loss(y + h * way, width) - loss(y - h * way, width)) / (2 * h)
        wider = (loss(y, width + h) - loss(y, width - h)) / (2 * h)
    assert math.isclose(float((of_y * way).sum()), float(along), rel_tol=1e-4)
    assert math.isclose(float(of_width), float(wider), rel_tol=1e-4)
