"""The pool of OpenMM contexts: shares of a batch, bad frames, platforms, second derivatives."""

import time
from concurrent.futures import wait

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import load_system
from openmm_diffsampler.targets.backends import openmm_backend
from openmm_diffsampler.targets.backends.openmm_backend import OpenMMBackend, fastest_platform

from ..reference import particles, random_positions


@pytest.fixture(scope="module")
def molecule():
    return load_system("alanine-dipeptide-vacuum")


@pytest.fixture(scope="module")
def x(molecule):
    start = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
    return start + random_positions(22, batch=7, scale=0.002)


def directly(system, x):
    """Energies and forces by nothing but OpenMM."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    energies, forces = [], []
    for frame in x.numpy():
        context.setPositions([openmm.Vec3(*map(float, row)) for row in frame])
        state = context.getState(getEnergy=True, getForces=True)
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        forces.append(state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    return torch.tensor(energies, dtype=torch.float64), torch.as_tensor(np.array(forces))


@pytest.mark.parametrize("n_contexts", [1, 2, 3, 10])
def test_every_row_is_what_openmm_says_however_the_batch_is_shared(molecule, x, n_contexts):
    found = OpenMMBackend(molecule.system, platform="Reference", n_contexts=n_contexts).energy_and_forces(x)
    for ours, openmms in zip(found, directly(molecule.system, x), strict=True):
        assert torch.equal(ours, openmms)


def test_an_empty_batch(molecule, x):
    energy, forces = OpenMMBackend(molecule.system, platform="Reference", n_contexts=2).energy_and_forces(x[:0])
    assert energy.shape == (0,) and forces.shape == (0, 22, 3)


def test_views_that_are_not_contiguous(molecule, x):
    backend = OpenMMBackend(molecule.system, platform="Reference", n_contexts=1)
    strided = x.repeat_interleave(2, 0)[::2]
    assert not strided.is_contiguous()
    assert torch.equal(backend.energy_and_forces(strided)[0], backend.energy_and_forces(x)[0])


def test_the_cpu_platform_agrees_to_single_precision(molecule, x):
    backend = OpenMMBackend(molecule.system, platform="CPU", n_contexts=2)
    energy, forces = backend.energy_and_forces(x)
    exact_energy, exact_forces = directly(molecule.system, x)
    assert torch.allclose(energy, exact_energy, rtol=1e-5)
    assert (forces - exact_forces).norm() <= 1e-4 * exact_forces.norm()


def test_contexts_on_the_cpu_take_one_thread_unless_told_otherwise(molecule):
    def threads(**kwargs):
        (context,) = OpenMMBackend(molecule.system, platform="CPU", n_contexts=1, **kwargs).contexts
        return context.getPlatform().getPropertyValue(context, "Threads")

    assert threads() == "1" and threads(properties={"Threads": "2"}) == "2"


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_bad_frames_are_nan_and_the_next_one_is_right(molecule, x, platform):
    backend = OpenMMBackend(molecule.system, platform=platform, n_contexts=1)
    before = backend.energy_and_forces(x)
    spoilt = x.clone()
    spoilt[2, 0, 0], spoilt[4] = torch.nan, torch.inf
    energy, forces = backend.energy_and_forces(spoilt)
    good = [0, 1, 3, 5, 6]
    assert not (energy[[2, 4]].isfinite() & forces[[2, 4]].isfinite().flatten(1).all(1)).any()
    assert torch.equal(energy[good], before[0][good]) and torch.equal(forces[good], before[1][good])


def test_other_errors_of_openmm_are_not_swallowed():
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    for _ in range(2):
        force.addParticle(0.1, 0.3, 0.5)
    backend = OpenMMBackend(particles(2, force), platform="Reference", n_contexts=1)
    backend.contexts[0].setPeriodicBoxVectors((1, 0, 0), (0, 1, 0), (0, 0, 1))
    with pytest.raises(openmm.OpenMMException, match="box"):
        backend.energy_and_forces(random_positions(2))


def test_second_derivatives_by_differences_of_forces(molecule, x):
    v = random_positions(22, batch=len(x), scale=3.0, seed=9)
    expected = (directly(molecule.system, x + 1e-7 * v)[1] - directly(molecule.system, x - 1e-7 * v)[1]) / 2e-7
    exact = OpenMMBackend(molecule.system, platform="Reference", n_contexts=2).force_vjp(x, v)
    assert (exact - expected).norm() <= 1e-6 * expected.norm()
    rough = OpenMMBackend(molecule.system, platform="CPU", n_contexts=2).force_vjp(x, v)
    assert (rough - expected).norm() <= 2e-2 * expected.norm()


def test_second_derivatives_along_nothing_are_zero(molecule, x):
    backend = OpenMMBackend(molecule.system, platform="Reference", n_contexts=1)
    assert torch.equal(backend.force_vjp(x, torch.zeros_like(x)), torch.zeros_like(x))


def test_results_come_back_in_the_precision_asked_for(molecule, x):
    backend = OpenMMBackend(molecule.system, platform="Reference", n_contexts=1, dtype=torch.float32)
    energy, forces = backend.energy_and_forces(x.float())
    assert energy.dtype == forces.dtype == backend.force_vjp(x.float(), x.float()).dtype == torch.float32


def test_the_fastest_platform_is_one_that_works(molecule):
    chosen = fastest_platform(molecule.system, np.array(molecule.positions.value_in_unit(unit.nanometer)), seconds=0.02)
    assert OpenMMBackend(molecule.system, platform=chosen, n_contexts=1).platform == chosen


def test_an_interrupted_batch_is_waited_for(molecule, x, monkeypatch):
    """Whoever interrupts the calling thread gets control when no context is in use any more, long before the end."""
    backend = OpenMMBackend(molecule.system, platform="Reference", n_contexts=2)
    asked, submit = [], backend._threads.submit

    class Interrupting:
        def __init__(self, future):
            self.future = future

        def result(self):
            while not asked:
                time.sleep(0.001)
            raise KeyboardInterrupt

    contexts = [_Counted(context, asked) for context in backend.contexts]
    monkeypatch.setattr(backend, "_contexts", contexts)
    futures = []
    monkeypatch.setattr(backend._threads, "submit", lambda *a: futures.append(submit(*a)) or Interrupting(futures[-1]))
    monkeypatch.setattr(openmm_backend, "wait_for", lambda work: wait([one.future for one in work]))
    with pytest.raises(KeyboardInterrupt):
        backend.energy_and_forces(x.repeat(2000, 1, 1))
    assert all(future.done() for future in futures) and len(asked) < 7000 and not backend._lock.lock.locked()


class _Counted:
    """A context that notes each frame that it is asked for."""

    def __init__(self, context, asked):
        self.context, self.asked = context, asked

    def setPositions(self, frame):  # noqa: N802
        self.asked.append(1)
        self.context.setPositions(frame)

    def getState(self, **what):  # noqa: N802
        return self.context.getState(**what)
