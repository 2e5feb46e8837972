"""Steps down the energy inside a network."""

import torch

from openmm_diffsampler import GaussianMixture, LennardJones
from openmm_diffsampler.networks import Descent
from openmm_diffsampler.networks.descent import bounded_force


def test_momentum_follows_its_equation():
    """In a Gaussian of width w, forces far below the bound, each step is v ← γv − hx/w², x ← x + v."""
    target, descent = GaussianMixture([[0.0, 0.0]], scales=0.5), Descent(3, 1e-3)
    descent.most = 1e8
    for parameter in descent.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.tensor([[0.3, -0.2]])
    expected, v = x.clone(), torch.zeros_like(x)
    steps, memories = descent.steps()
    assert float(steps.max()) > 1.2 * float(steps.min()) and bool((memories > 0).all())
    for h, memory in zip(steps, memories, strict=True):
        v = memory * v - h * expected / 0.25
        expected = expected + v
    torch.testing.assert_close(descent(x, target), expected)


def test_descent_narrows_what_is_stiff():
    target = GaussianMixture([[0.0, 0.0]], scales=0.1)
    x = target.normal(500, torch.Generator().manual_seed(0)).float()
    assert float(Descent(30, 2e-3)(x, target).detach().std()) < 0.1 * float(x.std())


def test_forces_are_bounded_particle_by_particle():
    target = LennardJones(3)
    x = torch.tensor([[[0.0, 0.0, 0.0], [0.8, 0.0, 0.0], [0.0, 5.0, 0.0]]])
    force, bounded = target.score(x), bounded_force(target, x, 10.0)
    size, found = force.norm(dim=-1), bounded.norm(dim=-1)
    assert float(size[0, 0]) > 100 and bool((found < 10).all())
    torch.testing.assert_close(found, size / (1 + size / 10))


def test_gradients_lead_through_the_forces():
    """Against finite differences, in double precision."""
    target, descent = GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], scales=0.5), Descent(4, 0.02).double()
    z = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: descent(z, target), (z,), atol=1e-4, eps=1e-5)
