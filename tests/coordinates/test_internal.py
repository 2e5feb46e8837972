"""Internal coordinates against round trips, autograd, mdtraj, and integrals that are known."""

import math

import mdtraj as md
import numpy as np
import pytest
import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import InternalCoordinates, ZMatrix, rotatable_torsions, torsion_blocks

from .molecules import MOLECULES, random_positions, topology


def distances(x):
    """All distances (n, N, N), without the rounding of torch.cdist's matrix products."""
    return (x[..., :, None, :] - x[..., None, :, :]).norm(dim=-1)


def volumes(x):
    """Signed volumes of all tetrahedra of neighbouring indices, which tell a configuration from its mirror image."""
    a, b, c = (x[:, k : x.shape[1] - 3 + k] - x[:, 3:] for k in range(3))
    return (a * torch.linalg.cross(b, c)).sum(-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@pytest.mark.parametrize("name", MOLECULES)
def test_round_trip(name, dtype, tolerance):
    coordinates = InternalCoordinates(topology(name))
    x = random_positions(200, coordinates.n_atoms, dtype=dtype)
    z = coordinates.to_internal(x)
    assert z.shape == (200, len(coordinates)) == (200, max(1, 3 * coordinates.n_atoms - 6)) and z.dtype == dtype
    y = coordinates.to_cartesian(z)
    assert (distances(y) - distances(x)).abs().max() < tolerance * 10
    if coordinates.n_atoms > 3:
        assert (volumes(y) - volumes(x)).abs().max() < tolerance * 100
    again = coordinates.to_internal(y)
    turns = (again - z)[:, coordinates.torsions] / (2 * math.pi)
    assert (turns - turns.round()).abs().max() < tolerance * 1000 if turns.numel() else True
    torch.testing.assert_close(again[:, : coordinates.torsions.start], z[:, : coordinates.torsions.start])


@pytest.mark.parametrize("name", ["alanine-dipeptide", "aspartame"])
def test_round_trip_of_molecules(name):
    molecule = load_system(name)
    x = torch.as_tensor(molecule.positions._value) + 0.01 * random_positions(500, len(molecule.positions))
    coordinates = InternalCoordinates(molecule.topology)
    y = coordinates.to_cartesian(coordinates.to_internal(x))
    assert (distances(y) - distances(x)).abs().max() < 1e-9
    assert (volumes(y) - volumes(x)).abs().max() < 1e-9


def test_conventions_are_those_of_mdtraj():
    molecule = load_system("alanine-dipeptide")
    coordinates = InternalCoordinates(molecule.mdtraj_topology)
    x = torch.as_tensor(molecule.positions._value) + 0.01 * random_positions(50, 22)
    frames = md.Trajectory(x.numpy(), molecule.mdtraj_topology)
    z = coordinates.to_internal(x).numpy()
    order, centre, axis = (getattr(coordinates.z_matrix, name) for name in ("order", "centre", "axis"))
    bonds = md.compute_distances(frames, np.stack([order, centre], 1)[1:], periodic=False)
    np.testing.assert_allclose(z[:, coordinates.bonds], bonds, atol=1e-5)
    angles = md.compute_angles(frames, np.stack([order, centre, axis], 1)[2:], periodic=False)
    np.testing.assert_allclose(z[:, coordinates.angles], angles, atol=1e-5)
    main = coordinates.z_matrix.is_main[3:]
    torsions = md.compute_dihedrals(frames, coordinates.z_matrix.torsions[main], periodic=False)
    difference = z[:, coordinates.torsions][:, main] - torsions
    np.testing.assert_allclose(np.sin(difference / 2), 0, atol=1e-5)


@pytest.mark.parametrize("name", MOLECULES)
def test_derivatives_of_positions(name):
    """The sums over rigid bodies against central differences, for a function that notices rotations."""
    coordinates = InternalCoordinates(topology(name))
    z = coordinates.to_internal(random_positions(3, coordinates.n_atoms, seed=1)).requires_grad_()
    weights = random_positions(1, coordinates.n_atoms, seed=2)
    (coordinates.to_cartesian(z) * weights).sum().backward()
    z0, step = z.detach(), 1e-6 * torch.eye(len(coordinates), dtype=torch.float64)
    ahead, behind = (
        torch.stack([(coordinates.to_cartesian(z0 + s * e) * weights).sum((1, 2)) for e in step], 1) for s in (1, -1)
    )
    torch.testing.assert_close(z.grad, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)


def centroid_basis(n_atoms):
    """(3N − 3, 3N) orthonormal basis of the configurations with their centroid at zero."""
    centred = np.eye(n_atoms) - 1 / n_atoms
    basis = np.linalg.svd(centred)[0][:, : n_atoms - 1].T
    return torch.as_tensor(np.kron(basis, np.eye(3)))


@pytest.mark.parametrize("name", [n for n in MOLECULES if n != "diatomic"])
def test_log_jacobian_against_autograd(name):
    """J = 8π²|det ∂x/∂(z, rotation)| in the subspace of the centroid."""
    coordinates = InternalCoordinates(topology(name))
    n = coordinates.n_atoms
    z = coordinates.to_internal(random_positions(1, n, seed=3))
    by_z = torch.autograd.functional.jacobian(coordinates.to_cartesian, z).reshape(3 * n, -1)
    x = coordinates.to_cartesian(z)[0]
    axes = torch.eye(3, dtype=torch.float64)
    by_turn = torch.stack([torch.linalg.cross(axis.expand(n, 3), x).flatten() for axis in axes], 1)
    square = centroid_basis(n) @ torch.cat([by_z, by_turn], 1)
    expected = torch.linalg.slogdet(square).logabsdet + math.log(8 * math.pi**2)
    assert abs(coordinates.log_jacobian(z)[0] - expected) < 1e-8


def test_normalisation_of_known_integrals():
    """∫exp(−½Σ|x − x̄|²)dx = (2π)^{3(N−1)/2}, by quadrature over z for two and three atoms."""
    pair = InternalCoordinates(topology("diatomic"))
    r = torch.linspace(1e-3, 14, 4001, dtype=torch.float64)[:, None]
    value = torch.trapezoid((pair.log_jacobian(r) - r[:, 0] ** 2 / 4).exp(), r[:, 0])
    assert abs(value - (2 * math.pi) ** 1.5) < 1e-4
    water = InternalCoordinates(topology("water"))
    r, angle = torch.linspace(1e-3, 11, 120, dtype=torch.float64), torch.linspace(1e-3, math.pi - 1e-3, 90).double()
    z = torch.stack(torch.meshgrid(r, r, angle, indexing="ij"), -1).reshape(-1, 3)
    x = water.to_cartesian(z)
    u = 0.5 * (x - x.mean(1, keepdim=True)).square().sum((1, 2))
    f = (water.log_jacobian(z) - u).exp().reshape(120, 120, 90)
    value = torch.trapezoid(torch.trapezoid(torch.trapezoid(f, angle), r), r)
    assert abs(value / (2 * math.pi) ** 3 - 1) < 1e-3


def test_a_torsion_turns_all_that_lies_beyond_it():
    """Turning the soft torsion of a bond keeps every distance on either side of it."""
    molecule = load_system("aspartame")
    coordinates = InternalCoordinates(molecule.mdtraj_topology)
    z = coordinates.to_internal(torch.as_tensor(molecule.positions._value)[None])
    x = coordinates.to_cartesian(z)[0]
    for column, (_, j, k, _) in coordinates.rotatable_torsions.items():
        turned = z.clone()
        turned[0, column] += 1.0
        y = coordinates.to_cartesian(turned)[0]
        same = (distances(x) - distances(y)).abs() < 1e-9
        with_j, with_k = same[j], same[k]
        assert not same.all() and (with_j & with_k).all()
        side = same[int((~same).any(1).nonzero()[0])]
        assert same[side][:, side].all() and same[~side][:, ~side].all()


@pytest.mark.parametrize("name", ["alanine-dipeptide", "aspartame"])
def test_rotatable_torsions_are_found(name):
    """One a bond, for the bonds that rotatable_torsions finds by another way."""
    molecule = load_system(name)
    coordinates = InternalCoordinates(molecule.mdtraj_topology)
    ours = sorted(tuple(sorted(t[1:3])) for t in coordinates.rotatable_torsions.values())
    assert ours == sorted(tuple(sorted(t[1:3])) for t in rotatable_torsions(molecule.mdtraj_topology))


def test_rings_have_no_rotatable_torsion():
    assert not InternalCoordinates(topology("cyclohexane")).rotatable_torsions
    assert not InternalCoordinates(topology("norbornane")).rotatable_torsions
    hexane = InternalCoordinates(topology(("C" * 6, [(k, k + 1) for k in range(5)])))
    assert len(hexane.rotatable_torsions) == 3 and [len(b) for b in torsion_blocks(hexane)] == [1, 1, 1, 2, 2]


def test_fragments_hang_on_the_root_of_the_largest_one():
    z_matrix = ZMatrix.from_topology(topology("ion pair"))
    fluorine = list(z_matrix.order).index(4)
    assert z_matrix.order[0] == 0 and z_matrix.centre[fluorine] == 0 and not z_matrix.rotatable.any()


def test_what_has_no_internal_coordinates_is_refused():
    with pytest.raises(ValueError, match="5 atoms and 0 bonds"):
        InternalCoordinates(topology(("CCCCC", [])))
    coordinates = InternalCoordinates(topology("butane"))
    straight = torch.tensor([[[0.0, 0, 0], [0.15, 0, 0], [0.3, 0, 0], [0.4, 0.1, 0]]], dtype=torch.float64)
    with pytest.raises(ValueError, match="lie in a line"):
        coordinates.to_internal(straight)
    outside = coordinates.to_internal(random_positions(1, 4)).repeat(3, 1)
    outside[0, 0], outside[1, coordinates.angles] = -0.1, 3.2
    assert coordinates.log_jacobian(outside).isfinite().tolist() == [False, False, True]
