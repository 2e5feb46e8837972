"""What every analytic target must do; its known answers are in the file named after it."""

import pytest
import torch

from openmm_diffsampler.targets.analytic import DENSITIES, DoubleWell, GaussianMixture, LennardJones, ManyWell, gmm40


def _mixture(**kwargs):
    return GaussianMixture(
        [[-1.0, 0.5, 0.0], [1.0, 0.0, -0.5]], [[0.5, 1.0, 0.7], [0.9, 0.4, 1.1]], [1, 2], name="mixture", **kwargs
    )


def _lattice(n_particles, n_dimensions, spacing):
    axis = spacing * torch.arange(3.0, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * n_dimensions)[:n_particles]


#: Constructor and a configuration near which energies are moderate.
CASES = {
    "gmm40": (gmm40, gmm40().means[3]),
    "mixture": (_mixture, torch.zeros(3, dtype=torch.float64)),
    "mw32": (ManyWell, torch.zeros(32, dtype=torch.float64)),
    "mw4": (lambda **kwargs: ManyWell(2, **kwargs), torch.ones(4, dtype=torch.float64)),
    "dw4": (DoubleWell, _lattice(4, 2, 4.0)),
    "lj5": (lambda **kwargs: LennardJones(5, **kwargs), _lattice(5, 3, 1.2)),
    "lj13": (lambda **kwargs: LennardJones(13, **kwargs), _lattice(13, 3, 1.2)),
}
PARTICLES = [name for name, (build, _) in CASES.items() if build().translation_invariant]


def configurations(name, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centre = CASES[name][1]
    return centre + 0.1 * torch.randn(n, *centre.shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def target(name):
    return CASES[name][0]()


def test_score_is_minus_the_finite_difference_of_the_potential(name, target):
    x, h = configurations(name, 1)[0], 1e-5
    steps = h * torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
    expected = -(target.reduced_potential(x + steps) - target.reduced_potential(x - steps)) / (2 * h)
    score = target.score(x[None])[0].flatten()
    torch.testing.assert_close(score, expected, rtol=1e-6, atol=1e-6 * score.abs().max().item())


def test_score_is_minus_autograd_through_the_closed_form(name, target):
    x = configurations(name, 5).requires_grad_()
    u, score = target._evaluate(x)
    torch.testing.assert_close(score, -torch.autograd.grad(u.sum(), x)[0], rtol=1e-10, atol=1e-10)


def test_potential_and_score_pass_gradcheck_and_gradgradcheck(name, target):
    x = configurations(name, 2).requires_grad_()
    assert torch.autograd.gradcheck(target.reduced_potential, x, fast_mode=True)
    assert torch.autograd.gradcheck(target.score, x, fast_mode=True, rtol=5e-3)
    assert torch.autograd.gradgradcheck(target.reduced_potential, x, fast_mode=True, rtol=5e-3)


def test_shapes_and_precisions(name, target):
    u, score = target.reduced_potential_and_score(configurations(name, 7))
    assert u.shape == (7,) and score.shape == (7, *target.event_shape)
    assert u.dtype == score.dtype == torch.float64
    assert target.reduced_potential(configurations(name, 7)[:0]).shape == (0,)
    with pytest.raises(ValueError, match="takes \\(n, "):
        target.reduced_potential(torch.zeros(2, 3, 3, 3))


def test_evaluations_are_counted(name, target):
    target.reduced_potential(configurations(name, 3))
    target.score(configurations(name, 4))
    assert target.n_evaluations == 7


def test_float32_agrees_with_float64(name, target):
    x = configurations(name, 20).float()
    u, score = CASES[name][0](dtype=torch.float32).reduced_potential_and_score(x)
    expected_u, expected_score = target.reduced_potential_and_score(x.double())
    assert u.dtype == score.dtype == torch.float32
    torch.testing.assert_close(u.double(), expected_u, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(score.double(), expected_score, rtol=1e-3, atol=1e-4 * expected_score.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bad_rows_are_masked_and_leave_the_others_alone(name, dtype):
    target = CASES[name][0](dtype=dtype)
    x = configurations(name, 8).to(dtype)
    x[1].view(-1)[0] = torch.nan
    x[3].view(-1)[1] = torch.inf
    x[4].view(-1)[1] = -torch.inf
    bad = [1, 3, 4]
    if name in PARTICLES:
        x[6, 1] = x[6, 0]
        bad.append(6)
    good = [i for i in range(8) if i not in bad]
    x.requires_grad_()
    u, score, valid = target.reduced_potential_and_score(x, return_mask=True)
    assert valid.tolist() == [i in good for i in range(8)]
    assert (u[bad] == torch.inf).all() and (score[bad] == 0).all()
    alone = target.reduced_potential_and_score(x.detach()[good])
    torch.testing.assert_close(u[good], alone[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(score[good], alone[1], rtol=1e-6, atol=1e-6)
    # Neither first nor second derivatives let the bad rows through.
    first = torch.autograd.grad(u[good].sum() + score.square().sum(), x)[0]
    assert first.isfinite().all() and (first[bad] == 0).all() and (first[good] != 0).any()


def test_huge_coordinates_are_no_better_than_ordinary_ones(name, target):
    u, score = target.reduced_potential_and_score(configurations(name, 1) * 1e200)
    assert u.isposinf().all() and score.isfinite().all()


def test_samples_are_reproducible_and_finite_where_there_are_any(name, target):
    if target.log_Z is None:
        with pytest.raises(TypeError, match="no exact sampler"):
            target.sample(3, torch.Generator().manual_seed(0))
        return
    first, second, other = (target.sample(11, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == (11, *target.event_shape) and first.dtype == torch.float64
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert target.sample(0, torch.Generator()).shape == (0, *target.event_shape)
    assert CASES[name][0](dtype=torch.float32).sample(5, torch.Generator()).dtype == torch.float32


@pytest.mark.parametrize("name", PARTICLES)
def test_particles_are_invariant_and_have_a_topology(name, target):
    x = configurations(name, 6)
    n, d = target.event_shape
    rotation = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(1), dtype=x.dtype))[0]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(2))
    u, score = target.reduced_potential_and_score(x)
    moved = (x + 3.0) @ rotation
    torch.testing.assert_close(target.reduced_potential(moved), u, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(target.score(moved), score @ rotation, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(target.reduced_potential(x[:, order]), u, rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(score.sum(1), torch.zeros(6, d, dtype=x.dtype), rtol=0, atol=1e-9 * score.abs().max())
    assert target.n_degrees_of_freedom == (n - 1) * d
    assert [(atom.element.symbol, atom.name) for atom in target.topology.atoms] == [
        ("Ar", f"Ar{i}") for i in range(1, n + 1)
    ]
    assert target.topology is target.topology and target.topology.n_residues == 1


def test_registry_builds_what_it_names():
    targets = {key: build(name=key) for key, build in DENSITIES.items()}
    assert {key: target.event_shape for key, target in targets.items()} == {"gmm40": (2,), "mw32": (32,), "dw4": (4, 2)}
    assert all(target.name == key for key, target in targets.items())
