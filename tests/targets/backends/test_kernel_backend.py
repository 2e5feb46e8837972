"""The compiled backend: batches of every size and layout, threads, precision, derivatives, the cache on disk."""

import threading

import openmm
import pytest
import torch

from openmm_diffsampler import LennardJones, OpenMMTarget, load_system
from openmm_diffsampler.targets.backends.kernel import KernelBackend, library
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.table import TermTable
from openmm_diffsampler.targets.terms.translate import translate_system

from ..openmmtools_systems import openmmtools_system, peptide
from ..reference import force_error, particles, random_positions, reference, thermal

MOLECULE = load_system("alanine-dipeptide")
TABLE = translate_system(MOLECULE.system)


@pytest.fixture(scope="module")
def frames():
    return thermal(MOLECULE.system, MOLECULE.positions, n=4)


def perturbed(frames, n, scale=0.002):
    return frames[torch.arange(n) % len(frames)] + random_positions(22, batch=n, scale=scale)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9, 31, 127])
def test_batches_of_every_size(frames, n, dtype):
    """Each row is what it is alone, whoever is beside it and on whichever thread."""
    backend = KernelBackend(TABLE, dtype=dtype)
    x = perturbed(frames, n).to(dtype)
    energy, forces = backend.energy_and_forces(x)
    assert energy.shape == (n,) and forces.shape == (n, 22, 3) and energy.dtype == forces.dtype == dtype
    for k in range(0, n, 13):
        one = backend.energy_and_forces(x[k : k + 1])
        assert torch.equal(one[0], energy[k : k + 1]) and torch.equal(one[1], forces[k : k + 1])


def test_threads_make_no_difference(frames):
    x = perturbed(frames, 203)
    results = [KernelBackend(TABLE, threads=threads).energy_and_forces(x) for threads in (1, 2, 5)]
    for other in results[1:]:
        assert torch.equal(results[0][0], other[0]) and torch.equal(results[0][1], other[1])


def test_layout_makes_no_difference(frames):
    x = perturbed(frames, 40)
    backend = KernelBackend(TABLE)
    energy, forces = backend.energy_and_forces(x)
    for view in (x.permute(2, 1, 0).contiguous().permute(2, 1, 0), torch.stack([x, x], 1)[:, 1], x.requires_grad_()):
        again = backend.energy_and_forces(view)
        assert torch.equal(again[0], energy) and torch.equal(again[1], forces)


def test_calls_from_several_threads_do_not_mix(frames):
    backend, batches = KernelBackend(TABLE), [perturbed(frames, 64, scale) for scale in (0.001, 0.002, 0.003, 0.004)]
    expected = [backend.energy_and_forces(x)[0] for x in batches]
    wrong = []

    def work(k):
        for _ in range(50):
            if not torch.equal(backend.energy_and_forces(batches[k])[0], expected[k]):
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_single_precision(frames):
    x = perturbed(frames, 64)
    energy, forces = KernelBackend(TABLE, dtype=torch.float32).energy_and_forces(x.float())
    exact_energy, exact_forces = reference(MOLECULE.system).energy_and_forces(x)
    assert force_error(forces, exact_forces) <= 3e-5
    assert (energy - exact_energy).abs().max() <= 3e-3


@pytest.mark.parametrize("scale", [0.01, 0.05, 0.3])
def test_distorted_configurations(frames, scale):
    """Overstretched bonds and near-overlaps, up to energies of 10¹⁵ kJ/mol."""
    x = perturbed(frames, 50, scale)
    energy, forces = KernelBackend(TABLE).energy_and_forces(x)
    exact_energy, exact_forces = reference(MOLECULE.system).energy_and_forces(x)
    assert force_error(forces, exact_forces) <= 1e-9
    assert ((energy - exact_energy).abs() <= 1e-9 * (exact_energy.abs() + exact_forces.flatten(1).norm(dim=1))).all()


def test_trialanine_in_gbn2():
    system, _, positions = peptide("GBn2")
    x = thermal(system, positions, n=2, steps=50) + random_positions(system.getNumParticles(), batch=2, scale=0.003)
    energy, forces = KernelBackend(translate_system(system)).energy_and_forces(x)
    exact_energy, exact_forces = reference(system).energy_and_forces(x)
    assert force_error(forces, exact_forces) <= 1e-12 and (energy - exact_energy).abs().max() <= 1e-9


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_second_derivatives_by_differences(frames, dtype):
    """Against the closed form: relative error 1e-8, by the precision of the products where that is single."""
    v = random_positions(22, batch=len(frames), scale=1.0, seed=4)
    exact = TorchBackend(TABLE).force_vjp(frames, v)
    found = KernelBackend(TABLE, dtype=dtype).force_vjp(frames.to(dtype), v.to(dtype))
    assert found.dtype == dtype
    assert (found - exact).norm() <= (1e-8 if dtype == torch.float64 else 1e-5) * exact.norm()


def test_rows_that_are_not_finite_are_guarded(frames):
    x = perturbed(frames, 20)
    good = KernelBackend(TABLE).energy_and_forces(x)
    x[3, 0, 0], x[7, 5], x[9], x[11, 2] = torch.nan, torch.inf, 0.0, x[11, 8]
    energy, forces = KernelBackend(TABLE).energy_and_forces(x)
    bad = torch.tensor([3, 7, 9, 11])
    assert energy[bad].isposinf().all() and not forces[bad].any()
    fine = torch.ones(20, dtype=torch.bool)
    fine[bad] = False
    assert torch.equal(energy[fine], good[0][fine]) and torch.equal(forces[fine], good[1][fine])


@pytest.mark.parametrize("expression", ["min(x, 1)", "max(x, -1)", "select(step(x), 1, 2)", "delta(x)"])
def test_a_nan_is_not_lost_in_functions_that_could_drop_it(expression):
    force = openmm.CustomExternalForce(f"{expression} + 0.5*(x^2+y^2+z^2)")
    force.addParticle(0, [])
    target = OpenMMTarget(particles(1, force), MOLECULE.temperature)
    assert target.reduced_potential(torch.full((1, 1, 3), torch.nan)).isposinf().all()


def test_scale_multiplies_energies_and_forces(frames):
    plain, halved = (KernelBackend(TABLE, scale=scale).energy_and_forces(frames) for scale in (1.0, 0.5))
    assert torch.equal(halved[0], plain[0] / 2) and torch.equal(halved[1], plain[1] / 2)


def test_nothing_to_sum():
    energy, forces = KernelBackend(TermTable(2)).energy_and_forces(torch.ones(5, 2, 3, dtype=torch.float64))
    assert not energy.any() and not forces.any()


def test_compiled_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENMM_DIFFSAMPLER_CACHE", str(tmp_path / "kernels"))
    compiled = []
    compile_ = library._compile
    monkeypatch.setattr(library, "_compile", lambda *a: compiled.append(1) or compile_(*a))
    x = random_positions(5, batch=3, scale=1.0)
    first = LennardJones(5).reduced_potential(x)
    assert torch.equal(LennardJones(5).reduced_potential(x), first) and len(compiled) == 1
    [kept] = (tmp_path / "kernels").iterdir()
    kept.write_bytes(kept.read_bytes()[:-100])  # damaged: compiled again
    assert torch.equal(LennardJones(5).reduced_potential(x), first) and len(compiled) == 2
    assert torch.equal(LennardJones(5).reduced_potential(x), first) and len(compiled) == 2


def test_without_a_place_to_keep_it(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("OPENMM_DIFFSAMPLER_CACHE", str(blocked / "kernels"))
    assert LennardJones(3).reduced_potential(random_positions(3, batch=2, scale=1.0)).isfinite().all()


def test_a_system_with_many_terms_compiles_quickly_and_agrees():
    system, positions = openmmtools_system("HostGuestImplicitOBC1")
    x = torch.as_tensor(positions)[None] + random_positions(len(positions), batch=2, scale=0.001)
    energy, _ = KernelBackend(translate_system(system)).energy_and_forces(x)
    exact, _ = reference(system).energy_and_forces(x)
    assert ((energy - exact).abs() <= 1e-12 * exact.abs()).all()
