"""What every network must do: shapes, precision, derivatives, saving; and the symmetries of the equivariant one."""

import pytest
import torch

from openmm_diffsampler.networks import MLP, EquivariantNetwork, PreconditionedScore, TimeEmbedding

NETWORKS = {
    "mlp": lambda: MLP((7, 3), width=16, n_layers=2),
    "equivariant": lambda: EquivariantNetwork(7, 3, width=16, n_layers=2),
    "equivariant in the plane": lambda: EquivariantNetwork(4, 2, width=16, n_layers=2),
}


def shape_of(name):
    return (4, 2) if "plane" in name else (7, 3)


def shaken(name):
    """A network whose weights are all away from where they start."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def inputs(name, n=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape_of(name), generator=generator), torch.rand(n, generator=generator)


@pytest.mark.parametrize("name", NETWORKS)
def test_shape_precision_and_dependence(name):
    network, (x, t) = shaken(name), inputs(name)
    out = network(x, t)
    assert out.shape == x.shape and out.isfinite().all()
    assert network(x.double(), t.double()).dtype == torch.float64  # computed in single precision all the same
    assert not torch.allclose(out, network(x, 1 - t)) and not torch.allclose(out, network(1.1 * x, t))
    torch.testing.assert_close(network(x[2:3], t[2:3]), out[2:3])


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives(name):
    network, (x, t) = shaken(name).double(), inputs(name, 2)
    x = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: network(x, t.double()), x, eps=1e-6, atol=1e-5)
    loss = network(x, t.double()).square().sum()
    gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in gradients) >= len(gradients) - 4


@pytest.mark.parametrize("name", NETWORKS)
def test_saved_and_loaded(name, tmp_path):
    from safetensors.torch import load_model, save_model

    network, (x, t) = shaken(name), inputs(name)
    save_model(network, tmp_path / "network.safetensors")
    other = NETWORKS[name]()
    load_model(other, tmp_path / "network.safetensors")
    assert torch.equal(other(x, t), network(x, t))


def test_a_new_mlp_gives_zero():
    x, t = inputs("mlp")
    assert not MLP((7, 3))(x, t).any()


@pytest.mark.parametrize("name", ["equivariant", "equivariant in the plane"])
def test_symmetries(name):
    network, (x, t) = shaken(name), inputs(name)
    out, d = network(x, t), x.shape[-1]
    scale = out.abs().max()
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(2)))[0]
    rotation[:, 0] *= -torch.linalg.det(rotation)  # a reflection
    permutation = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(3))
    assert (network(x @ rotation, t) - out @ rotation).abs().max() < 1e-5 * scale
    assert (network(x[:, permutation], t) - out[:, permutation]).abs().max() < 1e-5 * scale
    assert (network(x + 0.7, t) - out).abs().max() < 1e-4 * scale
    assert out.sum(1).abs().max() < 1e-5 * scale


def test_particles_on_top_of_each_other_do_no_harm():
    network, (x, t) = shaken("equivariant"), inputs("equivariant")
    x[:, 1] = x[:, 0]
    x.requires_grad_()
    network(x, t).square().sum().backward()
    assert x.grad.isfinite().all()


def test_times_are_told_apart():
    t = torch.linspace(0, 1, 200)
    features = TimeEmbedding(32)(t)
    distances = torch.cdist(features, features) + 10 * torch.eye(200)
    assert distances.min() > 0.1
    with pytest.raises(ValueError, match="n_features is 3"):
        TimeEmbedding(3)


def test_angles_are_seen_as_angles():
    """Outputs repeat with the period of an angle, change with the angle, and have no Gaussian part there."""
    torch.manual_seed(0)
    periods = torch.tensor([5.0, torch.inf, 25.0])
    network = MLP((3,), width=16, n_layers=2, n_waves=2, periods=periods)
    score = PreconditionedScore(network, skip=[2.0, 2.0], scale=[1.0, 1.0], inner=[0.5, 0.5], periods=periods)
    x, t = torch.randn(4, 3), torch.rand(4)
    torch.testing.assert_close(score(x, t), torch.tensor([0.0, -2.0, 0.0]) * x)  # a new network gives zero
    with torch.no_grad():
        network.last.weight.normal_()
    turned = x + torch.tensor([10.0, 0.0, -25.0])
    torch.testing.assert_close(score(turned, t), score(x, t), rtol=1e-3, atol=1e-4)
    for column in range(3):
        assert not torch.allclose(score(x + 0.3 * torch.eye(3)[column], t), score(x, t), atol=1e-2)
    again = MLP((3,), width=16, n_layers=2, n_waves=2, periods=2 * periods)
    again.load_state_dict(network.state_dict())  # with its periods
    assert torch.equal(again(x, t), network(x, t))
