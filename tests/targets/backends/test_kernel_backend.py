"""The compiled backend: batches of every size and layout, threads, precision, derivatives."""

import copy
import pickle
import threading

import openmm
import pytest
import torch

from openmm_diffsampler import LennardJones, OpenMMTarget, load_system
from openmm_diffsampler.targets.backends.kernel import KernelBackend
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.table import TermTable
from openmm_diffsampler.targets.terms.translate import translate_system

from ..openmmtools_systems import openmmtools_system, peptide
from ..reference import force_error, in_threads, particles, random_positions, reference, thermal

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

    in_threads(work)
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


@pytest.mark.parametrize("backend", ["kernel", "torch", "openmm"])
@pytest.mark.parametrize("expression", ["min(x, 1)", "max(x, -1)", "select(step(x-1), (x-1)^2, 0)", "delta(x)", "0*x"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_bad_coordinate_is_not_lost_in_functions_that_could_drop_it(backend, expression, bad):
    force = openmm.CustomExternalForce(f"{expression} + 0.5*(y^2+z^2)")
    force.addParticle(0, [])
    target = OpenMMTarget(particles(1, force), MOLECULE.temperature, backend=backend, platform="Reference")
    x = torch.tensor([[[bad, 0.0, 0.0]], [[0.3, 0.0, 0.0]]], dtype=torch.float64)
    u, score, valid = target.reduced_potential_and_score(x, return_mask=True)
    assert valid.tolist() == [False, True] and u[0].isposinf() and not score[0].any()


def test_a_constant_that_is_nan_stays_so_without_harm():
    force = openmm.CustomBondForce("select(step(r-0.1), r^2, sqrt(step(-1)-1))")
    for i in range(5):
        force.addBond(i, i + 1, [])
    table = translate_system(particles(6, force))
    x = random_positions(6, batch=9, scale=0.1)
    for dtype in (torch.float64, torch.float32):
        energy, _ = KernelBackend(table, dtype=dtype).energy_and_forces(x.to(dtype))
        exact = TorchBackend(table, dtype=dtype).energy_and_forces(x.to(dtype))[0]
        assert torch.equal(energy.isfinite(), exact.isfinite())


def test_an_interrupted_batch_is_waited_for(frames):
    """Whoever interrupts the calling thread gets control when no other thread writes any more."""
    backend = KernelBackend(TABLE, threads=2)
    x, function, running = perturbed(frames, 4096), backend.function, []
    backend.energy_and_forces(x)

    def interrupted(*arguments):
        running.append(1)
        function(*arguments)
        running.pop()
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    backend.function = interrupted
    with pytest.raises(KeyboardInterrupt):
        backend.energy_and_forces(x)
    assert not running and not backend._lock.lock.locked()


def test_particle_densities_can_be_copied_and_pickled():
    target, x = LennardJones(4), random_positions(4, batch=2, scale=1.0)
    u = target.reduced_potential(x)
    for other in (copy.deepcopy(target), pickle.loads(pickle.dumps(target))):
        assert torch.equal(other.reduced_potential(x), u)


def test_scale_multiplies_energies_and_forces(frames):
    plain, halved = (KernelBackend(TABLE, scale=scale).energy_and_forces(frames) for scale in (1.0, 0.5))
    assert torch.equal(halved[0], plain[0] / 2) and torch.equal(halved[1], plain[1] / 2)


def test_nothing_to_sum():
    energy, forces = KernelBackend(TermTable(2)).energy_and_forces(torch.ones(5, 2, 3, dtype=torch.float64))
    assert not energy.any() and not forces.any()


def test_a_system_with_many_terms_compiles_quickly_and_agrees():
    system, positions = openmmtools_system("HostGuestImplicitOBC1")
    x = torch.as_tensor(positions)[None] + random_positions(len(positions), batch=2, scale=0.001)
    energy, _ = KernelBackend(translate_system(system)).energy_and_forces(x)
    exact, _ = reference(system).energy_and_forces(x)
    assert ((energy - exact).abs() <= 1e-12 * exact.abs()).all()
