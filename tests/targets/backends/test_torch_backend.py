"""Closed-form forces against OpenMM's Reference platform: every listed test system, capped peptides, precision."""

import pytest
import torch
from openmm import unit

from openmm_diffsampler import load_system
from openmm_diffsampler.targets.backends import torch_backend, torch_terms
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.table import TermTable

from ..openmmtools_systems import LARGE, SMALL, SOLVENTS, openmmtools_system, peptide
from ..reference import assert_agrees, closed_form, force_error, random_positions, reference, thermal

pytestmark = pytest.mark.filterwarnings("ignore:Non-optimal GB parameters")


@pytest.fixture(scope="module")
def molecule():
    return load_system("alanine-dipeptide")


@pytest.fixture(scope="module")
def frames(molecule):
    return thermal(molecule.system, molecule.positions, n=4)


def is_long(name):
    """All solvents are tried with toluene; with a host and its guest, of 150 atoms, they take seconds each."""
    return name.startswith("HostGuestImplicit") and name != "HostGuestImplicitOBC2"


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if is_long(n) else []) for n in SMALL])
def test_forces_of_openmmtools_systems(name):
    system, positions = openmmtools_system(name)
    platform = "Reference" if len(positions) < 100 else "CPU"  # which is the faster one for dynamics
    assert_agrees(system, thermal(system, positions, steps=100, platform=platform))


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_forces_of_large_openmmtools_systems(name):
    system, positions = openmmtools_system(name)
    assert_agrees(system, thermal(system, positions, n=1, steps=10, platform="CPU"))


@pytest.mark.parametrize("solvent", SOLVENTS)
def test_forces_of_capped_peptides(solvent):
    system, _, positions = peptide(solvent)
    assert_agrees(system, thermal(system, positions, steps=100))


def test_single_precision(molecule, frames):
    x = torch.cat([frames, thermal(molecule.system, molecule.positions, n=4, seed=2)])
    energy, forces = closed_form(molecule.system, dtype=torch.float32).energy_and_forces(x.float())
    exact_energy, exact_forces = reference(molecule.system).energy_and_forces(x)
    assert energy.dtype == forces.dtype == torch.float32
    assert energy.isfinite().all() and forces.isfinite().all()
    assert force_error(forces, exact_forces) <= 2e-5
    assert (energy - exact_energy).abs().max() <= 2e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_second_derivatives(molecule, frames, dtype):
    v = random_positions(22, batch=len(frames), scale=1.0, seed=4)
    forward, backward = (reference(molecule.system).energy_and_forces(frames + s * 1e-6 * v)[1] for s in (1, -1))
    expected = (forward - backward) / 2e-6
    found = closed_form(molecule.system, dtype=dtype).force_vjp(frames.to(dtype), v.to(dtype))
    assert found.dtype == dtype
    assert (found - expected).norm() <= (1e-8 if dtype == torch.float64 else 1e-5) * expected.norm()


def test_second_derivatives_are_symmetric(molecule, frames):
    backend = closed_form(molecule.system)
    v, w = (random_positions(22, batch=len(frames), scale=1.0, seed=s) for s in (4, 5))
    first, second = (backend.force_vjp(frames, v) * w).sum(), (backend.force_vjp(frames, w) * v).sum()
    assert torch.allclose(first, second, rtol=1e-11)


@pytest.mark.parametrize("batch", [0, 1, 5, 23])
def test_chunks_make_no_difference(molecule, frames, batch, monkeypatch):
    whole = closed_form(molecule.system)
    monkeypatch.setattr(torch_backend, "_CHUNK_BYTES", 4 * 231 * 8)
    pieces = closed_form(molecule.system)
    assert pieces.chunk == 4 < whole.chunk
    x = frames.repeat(6, 1, 1)[:batch] + random_positions(22, batch=batch, scale=0.001)
    for one, other in zip(whole.energy_and_forces(x), pieces.energy_and_forces(x), strict=True):
        assert one.shape[0] == batch and torch.allclose(one, other, rtol=1e-12, atol=1e-9)
    assert torch.allclose(whole.force_vjp(x, x), pieces.force_vjp(x, x), rtol=1e-10, atol=1e-6)


def test_blocks_of_terms_make_no_difference(molecule, frames, monkeypatch):
    backend = closed_form(molecule.system)
    energy, forces = backend.energy_and_forces(frames)
    monkeypatch.setattr(torch_terms, "_BLOCK", 7 * len(frames))
    in_blocks = backend.energy_and_forces(frames)
    assert torch.allclose(in_blocks[0], energy, rtol=1e-13)
    assert torch.allclose(in_blocks[1], forces, rtol=1e-12, atol=1e-9)


def test_atoms_that_the_energy_does_not_know_feel_nothing():
    energy, forces = TorchBackend(TermTable(3)).energy_and_forces(random_positions(3))
    assert not energy.any() and not forces.any()
    assert not TorchBackend(TermTable(3)).force_vjp(random_positions(3), random_positions(3)).any()


def test_energies_do_not_change_under_rotation(molecule, frames):
    axes = torch.linalg.qr(random_positions(3, batch=1)[0])[0]
    backend = closed_form(molecule.system)
    energy, forces = backend.energy_and_forces(frames)
    turned_energy, turned_forces = backend.energy_and_forces(frames @ (axes * torch.linalg.det(axes)))
    assert torch.allclose(turned_energy, energy, rtol=1e-11)
    assert torch.allclose(turned_forces, forces @ (axes * torch.linalg.det(axes)), rtol=1e-9, atol=1e-8)


def test_shipped_clusters():
    for name in ("lj13", "lj55"):
        cluster = load_system(name)
        start = torch.as_tensor(cluster.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
        assert_agrees(cluster.system, start + random_positions(len(start), batch=5, scale=0.05))


def test_where_nothing_compiles_it_runs_all_the_same(molecule, frames, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", lambda function, **_: broken)
    backend = closed_form(molecule.system, compiled=True)
    with pytest.warns(UserWarning, match="torch.compile failed.*no compiler"):
        energy, forces = backend.energy_and_forces(frames)
    exact = closed_form(molecule.system).energy_and_forces(frames)
    assert torch.allclose(energy, exact[0], rtol=1e-12) and force_error(forces, exact[1]) <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 16, 21])
def test_compiled_as_on_a_gpu(molecule, frames, n):
    """What torch.compile makes of the closed forms, here on a CPU: the same numbers, batches filled up to 16 or 32."""
    x = frames[torch.arange(n) % len(frames)]
    energy, forces = closed_form(molecule.system).energy_and_forces(x)
    found = closed_form(molecule.system, compiled=True).energy_and_forces(x)
    assert torch.allclose(found[0], energy, rtol=1e-12) and force_error(found[1], forces) <= 1e-12
