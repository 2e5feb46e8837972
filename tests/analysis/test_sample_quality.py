"""Distances between sample sets against known answers: shifts, duplicates, symmetric copies and brute force."""

import math
import subprocess
import sys
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from openmm_diffsampler.analysis import (
    EnergyDistances,
    bootstrap_floor,
    distance_total_variation,
    energy_distances,
    symmetric_wasserstein,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(dim, seed, determinant=1):
    q = torch.linalg.qr(normal(dim, dim, seed=seed)).Q
    if q.det() * determinant < 0:
        q[:, 0] *= -1
    return q


def brute_force_square(x, y, reflections, angles=1800):
    """d² of two configurations in the plane over all permutations and a grid of angles, with its grid error."""
    x, y = x - x.mean(0), y - y.mean(0)
    a = torch.linspace(0, 2 * math.pi, angles + 1, dtype=torch.float64)[:-1]
    turns = torch.stack([a.cos(), -a.sin(), a.sin(), a.cos()], -1).reshape(-1, 2, 2)
    if reflections:
        turns = torch.cat([turns, turns * torch.tensor([1.0, -1.0], dtype=torch.float64)])
    overlap = max(float((x * (y[list(p)] @ turns.mT)).sum((1, 2)).max()) for p in permutations(range(len(y))))
    return float(x.square().sum() + y.square().sum()) - 2 * overlap


@pytest.mark.parametrize("as_given", [torch.as_tensor, torch.Tensor.float, torch.Tensor.numpy, torch.Tensor.tolist])
def test_energies_shifted(as_given):
    u = normal(1000)
    found = energy_distances(as_given(u + 1.5), as_given(u))
    assert isinstance(found, EnergyDistances)
    assert found.w1 == pytest.approx(1.5, abs=1e-5) and found.w2 == pytest.approx(1.5, abs=1e-5)


def test_energies_of_gaussians():
    """W2² = (difference of means)² + (difference of standard deviations)² for Gaussians; W1 by numbers written out."""
    found = energy_distances(2 * normal(200_000) + 1, normal(150_000, seed=1))
    assert found.w2 == pytest.approx(math.sqrt(2), abs=0.02)
    assert energy_distances([0.0, 1.0, 3.0], [5.0, 6.0, 8.0])[:2] == pytest.approx((5, 5))
    # A quarter of the mass at 0 goes on to 4.
    assert energy_distances([0.0], [0.0, 0.0, 0.0, 4.0])[:2] == pytest.approx((1, 2))


def test_energies_against_linear_assignment():
    u, v = normal(30).numpy(), normal(30, seed=1).numpy() * 3
    for p, found in zip((1, 2), energy_distances(u, v), strict=False):
        cost = np.abs(u[:, None] - v) ** p
        assert found == pytest.approx(cost[linear_sum_assignment(cost)].mean() ** (1 / p))


def test_weights_are_duplication():
    u, reference = normal(50), normal(70, seed=1)
    counts = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(2))
    repeated = energy_distances(u.repeat_interleave(counts), reference)
    assert energy_distances(u, reference, weights=7.0 * counts) == pytest.approx(repeated)
    x, reference = normal(50, 4, 2), normal(70, 4, 2, seed=1)
    repeated = distance_total_variation(x.repeat_interleave(counts, 0), reference)
    assert distance_total_variation(x, reference, weights=counts) == pytest.approx(repeated)
    assert repeated != pytest.approx(distance_total_variation(x, reference))


def test_reweighted_energies_are_those_of_the_reference():
    u = normal(100_000)
    found = energy_distances(u, normal(100_000, seed=1) + 1, weights=u.exp())
    assert found.w1 < 0.05 and energy_distances(u, u + 1).w1 > 0.9


def test_total_variation_by_hand():
    """Four bins over [0, 4]: the shares are ½, 0, 0, ¼ with ¼ outside, against four quarters."""
    found = energy_distances([0.1, 0.2, 4.0, 9.0], [0.0, 1.5, 2.5, 4.0], bins=4).total_variation
    assert found == pytest.approx((0.25 + 0.25 + 0.25 + 0 + 0.25) / 2)


def test_total_variation_of_identical_and_disjoint_sets():
    u, x = normal(500), normal(200, 5, 3)
    for same, apart, between in (
        (energy_distances(u, u), energy_distances(u + 100, u), energy_distances([1.0, 3.0], [0.0, 1.0, 3.0, 4.0])),
        (energy_distances([2.0], [2.0]), energy_distances([5.0], [2.0]), energy_distances([2.0, 5.0], [2.0])),
    ):
        assert same == pytest.approx((0, 0, 0), abs=1e-12) and apart.total_variation == pytest.approx(1)
        assert between.total_variation == pytest.approx(0.5)
    assert distance_total_variation(x, x) == pytest.approx(0, abs=1e-12)
    assert distance_total_variation(100 * x, x) == pytest.approx(1, abs=1e-3)
    half = distance_total_variation(torch.cat([x, x + 1000 * torch.arange(5)[:, None]]), x)
    assert half == pytest.approx(0.5)


def test_distances_do_not_see_rigid_motions_and_permutations():
    """Up to distances that rounding takes across an edge."""
    x = normal(300, 5, 3)
    moved = x[:, torch.randperm(5, generator=torch.Generator().manual_seed(1))] @ rotation(3, 1, -1) + 2
    assert distance_total_variation(moved, x) < 1e-3


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("determinant", [1, -1])
def test_moved_copies_are_at_distance_zero(dim, determinant):
    """Labelled particles: any motion of each copy by itself. Mirror images count only with reflections."""
    x = normal(12, 5, dim)
    moved = torch.stack([a @ rotation(dim, k, determinant) + k for k, a in enumerate(x)]).flip(0)
    assert symmetric_wasserstein(x, moved, permutable=False) < 1e-6
    proper = symmetric_wasserstein(x, moved, permutable=False, reflections=False)
    assert proper < 1e-6 if determinant == 1 else proper > 0.1


@pytest.mark.parametrize("reflections", [True, False])
def test_permuted_copies_are_at_distance_zero(reflections):
    """Hungarian matching of the coordinates as they lie finds permutations under small rotations."""
    x = 3 * normal(15, 6, 3)
    a = torch.tensor(0.05, dtype=torch.float64)
    turn = torch.block_diag(torch.stack([a.cos(), -a.sin(), a.sin(), a.cos()]).reshape(2, 2), torch.ones(1, 1))
    generator = torch.Generator().manual_seed(3)
    copies = torch.stack([c[torch.randperm(6, generator=generator)] for c in x])[
        torch.randperm(15, generator=generator)
    ]
    assert symmetric_wasserstein(x, copies @ turn + 5, reflections=reflections) < 1e-6
    assert symmetric_wasserstein(x, copies @ turn + 5, permutable=False, reflections=reflections) > 0.5


@pytest.mark.parametrize("reflections", [True, False])
def test_against_brute_force(reflections):
    """Three particles in the plane: alignments fall to a minimum, and from many sides to the lowest of all."""
    starts = 2 * math.pi * torch.arange(24, dtype=torch.float64) / 24
    for seed in range(10):
        x, y = normal(2, 3, 2, seed=seed)
        true = brute_force_square(x, y, reflections)

        def square(y, k, x=x):
            return symmetric_wasserstein(x[None], y[None], reflections=reflections, n_alignments=k) ** 2

        bounds = [square(y, k) for k in (1, 2, 20)]
        assert bounds == sorted(bounds, reverse=True) and bounds[-1] > true - 1e-4
        turns = [torch.stack([a.cos(), a.sin(), -a.sin(), a.cos()]).reshape(2, 2) for a in starts]
        mirrors = (torch.ones(2), torch.tensor([1.0, -1.0])) if reflections else (torch.ones(2),)
        assert min(square(y @ t * mirror, 20) for t in turns for mirror in mirrors) == pytest.approx(true, abs=1e-4)


def test_alignments_in_three_dimensions_only_lower_the_distance():
    x, y = normal(10, 7, 3), normal(12, 7, 3, seed=1)
    for reflections in (True, False):
        bounds = [symmetric_wasserstein(x, y, reflections=reflections, n_alignments=k) for k in (1, 2, 5, 10)]
        assert bounds == sorted(bounds, reverse=True) and bounds[0] > bounds[-1]


def test_convention_written_out():
    """Hungarian matching, then the rotation of Kabsch, then an exact assignment."""
    x, y = normal(6, 4, 3), normal(6, 4, 3, seed=1)
    cost = np.empty((6, 6))
    for i, j in np.ndindex(6, 6):
        a, b = (c - c.mean(0) for c in (x[i].numpy(), y[j].numpy()))
        b = b[linear_sum_assignment(((a[:, None] - b) ** 2).sum(-1))[1]]
        u, _, vt = np.linalg.svd(b.T @ a)
        turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        cost[i, j] = ((a - b @ turn) ** 2).sum()
    expected = math.sqrt(cost[linear_sum_assignment(cost)].mean())
    assert symmetric_wasserstein(x, y, reflections=False) == pytest.approx(expected)


def test_sets_of_different_size_and_subsets():
    x = normal(4, 3, 2)
    assert symmetric_wasserstein(x.repeat(3, 1, 1), x) < 1e-6
    y = normal(30, 3, 2, seed=1)
    subset = symmetric_wasserstein(y, y.numpy(), n=10, seed=4)
    assert subset == symmetric_wasserstein(y, y, n=10, seed=4) > 0
    assert subset != symmetric_wasserstein(y, y, n=10, seed=5)


def test_floor_of_w1_falls_as_one_over_root_n():
    u = normal(100_000)
    small, large = (bootstrap_floor(energy_distances, u, n, n_repeats=20, n_reference=n) for n in (400, 6400))
    assert isinstance(small.mean, EnergyDistances)
    assert small.mean.w1 / large.mean.w1 == pytest.approx(4, rel=0.3)
    assert small.mean.total_variation > large.mean.total_variation and small.std.w1 > large.std.w1 > 0


def test_floor_splits_the_reference():
    """The subsets are disjoint and of the sizes asked for; all is used by default; equal seeds give equal splits."""
    rows, seen = np.arange(20), []

    def metric(a, b):
        assert not set(a) & set(b)
        seen.append((len(a), len(b)))
        return a.mean()

    floor = bootstrap_floor(metric, rows, 10, n_repeats=3)
    assert isinstance(floor.mean, float) and floor.std > 0
    assert floor == bootstrap_floor(metric, rows, 10, n_repeats=3) != bootstrap_floor(metric, rows, 10, 3, seed=1)
    bootstrap_floor(metric, rows, 4, n_repeats=2, n_reference=6)
    assert set(seen[:-2]) == {(10, 10)} and seen[-2:] == [(4, 6)] * 2
    for n, n_reference in ((11, None), (0, None), (10, 11), (5, 0)):
        with pytest.raises(ValueError, match="at most half"):
            bootstrap_floor(metric, rows, n, n_reference=n_reference)
    with pytest.raises(ValueError, match="2 or more"):
        bootstrap_floor(metric, rows, 5, n_repeats=1)


@pytest.mark.parametrize(
    "weights",
    [torch.ones(4), -torch.ones(5), torch.zeros(5), torch.ones(5, 1), torch.tensor([1.0, 1, 1, 1, torch.nan])],
)
def test_wrong_weights(weights):
    for metric, x in ((energy_distances, normal(5)), (distance_total_variation, normal(5, 3, 2))):
        with pytest.raises(ValueError, match="weights"):
            metric(x, x, weights=weights)


def test_wrong_energies():
    u = normal(5)
    with pytest.raises(ValueError, match="2 of 5 energies are NaN or infinite"):
        energy_distances([0.0, math.inf, 1.0, math.nan, 2.0], u)
    with pytest.raises(ValueError, match="1 of 1 reference energies"):
        energy_distances(u, [math.inf])
    for bad in (u[:0], u[:, None], 1.0):
        with pytest.raises(ValueError, match="have shape"):
            energy_distances(bad, u)
    with pytest.raises(ValueError, match="bins"):
        energy_distances(u, u, bins=0)


@pytest.mark.parametrize("metric", [distance_total_variation, symmetric_wasserstein])
def test_wrong_configurations(metric):
    x = normal(5, 3, 2)
    with pytest.raises(ValueError, match="have shape"):
        metric(x.flatten(1), x.flatten(1))
    with pytest.raises(ValueError, match="have shape"):
        metric(x[:0], x)
    with pytest.raises(ValueError, match="shapes are"):
        metric(x, normal(5, 4, 2))
    with pytest.raises(ValueError, match="6 of 30 reference coordinates are NaN"):
        metric(x, torch.where(torch.arange(5)[:, None, None] == 2, torch.nan, x))


def test_wrong_options():
    x = normal(5, 3, 2)
    with pytest.raises(ValueError, match="2 or more particles"):
        distance_total_variation(x[:, :1], x[:, :1])
    for options in ({"n": 6}, {"n": 0}, {"n_alignments": 0}):
        with pytest.raises(ValueError, match="n_alignments is"):
            symmetric_wasserstein(x, x, **options)


def test_optimal_transport_is_imported_late():
    code = "import sys, openmm_diffsampler.analysis; sys.exit('ot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
