"""Forces that run other people's code: their errors, their NaN, their state."""

import threading
import time

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget
from openmm_diffsampler.targets.backends.foreign_forces import evaluated_alone, foreign_forces
from openmm_diffsampler.targets.backends.openmm_backend import OpenMMBackend

from ..reference import in_threads, particles, random_positions

pytestmark = pytest.mark.skipif(not hasattr(openmm, "PythonForce"), reason="this OpenMM has no PythonForce")
PLATFORMS = ["Reference", "CPU"]
KELVIN = 300 * unit.kelvin


class Function:
    """A harmonic force that does what it is told."""

    def __init__(self):
        self.energy, self.forces, self.error = None, None, None

    def __call__(self, state):
        if self.error is not None:
            raise self.error
        x = state.getPositions(asNumpy=True)._value
        energy = 0.5 * (x**2).sum() if self.energy is None else self.energy
        return energy, -x if self.forces is None else np.full(x.shape, self.forces)


class Stateful:
    """A harmonic force that keeps the positions before it computes, as a model that copies them to a device does."""

    def __init__(self):
        self.x = None

    def __call__(self, state):
        self.x = np.array(state.getPositions(asNumpy=True)._value)
        time.sleep(0.001)
        return 0.5 * (self.x**2).sum(), -self.x


def inside_another(force):
    outer = openmm.CustomCVForce("2*inner")
    outer.addCollectiveVariable("inner", force)
    return outer


@pytest.fixture(params=PLATFORMS)
def asked(request):
    function = Function()
    target = OpenMMTarget(particles(3, openmm.PythonForce(function)), KELVIN, platform=request.param)
    return target, function


@pytest.mark.parametrize(
    "error",
    [ValueError("positions must be in nanometer"), RuntimeError("NaN"), ZeroDivisionError("finance")],
)
def test_errors_are_raised_whatever_their_text(asked, error):
    target, function = asked
    x = random_positions(3, batch=2)
    u = target.reduced_potential(x)
    function.error = error
    with pytest.raises(openmm.OpenMMException, match=str(error)):
        target.reduced_potential(x)
    function.error = None
    assert torch.equal(target.reduced_potential(x), u)


def test_errors_while_a_target_is_made_are_told():
    function = Function()
    function.error = ValueError("positions must be in nanometer")
    system = particles(2, openmm.PythonForce(function))
    with pytest.raises(ValueError, match="positions must be in nanometer"):
        OpenMMTarget(system, KELVIN)
    with pytest.raises(openmm.OpenMMException, match="positions must be in nanometer"):
        OpenMMTarget(system, KELVIN, positions=np.eye(3)[:2])


@pytest.mark.parametrize("spoilt", [{"energy": np.nan}, {"energy": np.inf}, {"forces": np.nan}])
def test_results_that_are_no_numbers_are_infinite_energies(asked, spoilt):
    target, function = asked
    vars(function).update(spoilt)
    u, score, valid = target.reduced_potential_and_score(random_positions(3, batch=2), return_mask=True)
    assert u.isposinf().all() and not score.any() and not valid.any()


def test_a_function_is_not_asked_about_coordinates_that_are_no_numbers(asked):
    target, function = asked
    x = random_positions(3, batch=3)
    x[0, 0, 0], x[1, 2, 1] = torch.nan, -torch.inf
    u = target.reduced_potential(x)
    assert u.isposinf().tolist() == [True, True, False]
    function.error = ValueError("asked")
    assert target.reduced_potential(x[:2]).isposinf().all()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_overlapping_particles_are_infinite_energies(platform):
    force = openmm.NonbondedForce()
    for _ in range(3):
        force.addParticle(0.1, 0.3, 0.5)
    backend = OpenMMBackend(particles(3, force, openmm.PythonForce(Function())), platform=platform, n_contexts=1)
    x = random_positions(3, batch=3)
    good = backend.energy_and_forces(x)
    x[1] = 0.0
    energy, forces = backend.energy_and_forces(x)
    assert not energy[1].isfinite() and not forces[1].isfinite().all()
    assert torch.equal(energy[[0, 2]], good[0][[0, 2]]) and torch.equal(forces[[0, 2]], good[1][[0, 2]])


@pytest.mark.parametrize("size", [1e39, 1e200])
def test_coordinates_beyond_single_precision_are_no_numbers_on_the_cpu_platform(size):
    force = openmm.CustomExternalForce("1/(1+x^2)")
    force.addParticle(0, [])
    system, far = particles(1, force), torch.tensor([[[size, 0.0, 0.0]]], dtype=torch.float64)
    for platform, is_finite in (("Reference", True), ("CPU", False)):
        energy, _ = OpenMMBackend(system, platform=platform, n_contexts=1).energy_and_forces(far)
        assert bool(energy.isfinite()) == is_finite


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_force_with_state_gives_each_thread_its_own_energies(platform, wrapped):
    """Two targets of one function, each asked by two threads."""
    function = Stateful()
    force = inside_another(openmm.PythonForce(function)) if wrapped else openmm.PythonForce(function)
    systems = [particles(2, force), particles(2, openmm.PythonForce(function))]
    targets = [OpenMMTarget(system, KELVIN, platform=platform, n_contexts=4) for system in systems]
    factors = [(2 if wrapped else 1) * targets[0]._beta, targets[1]._beta]
    wrong = []

    def work(k):
        x = random_positions(2, batch=15, seed=k)
        expected = 0.5 * x.square().sum((1, 2)) * factors[k % 2]
        if not torch.allclose(targets[k % 2].reduced_potential(x), expected, rtol=1e-5):
            wrong.append(k)

    in_threads(work)
    assert not wrong
    assert "one context" in targets[0].backend_reason and "PythonForce" in targets[0].backend_reason
    assert len(targets[0]._evaluator.contexts) == 1


def test_a_function_may_evaluate_another_target():
    inner = OpenMMTarget(particles(2, openmm.PythonForce(Function())), KELVIN, platform="Reference")

    def outer(state):
        x = torch.as_tensor(np.array(state.getPositions(asNumpy=True)._value))[None]
        u, score = inner.reduced_potential_and_score(x)
        return float(u) / inner._beta, score[0].numpy() / inner._beta

    target = OpenMMTarget(particles(2, openmm.PythonForce(outer)), KELVIN, platform="Reference")
    x, found = random_positions(2, batch=3), []
    thread = threading.Thread(target=lambda: found.append(target.reduced_potential(x)), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    torch.testing.assert_close(found[0], inner.reduced_potential(x))


def test_which_forces_are_foreign():
    plain = particles(1, openmm.HarmonicBondForce(), inside_another(openmm.RMSDForce(np.zeros((1, 3)))))
    assert foreign_forces(plain) == []
    nested = inside_another(inside_another(openmm.PythonForce(Function())))
    assert foreign_forces(particles(1, nested)) == ["PythonForce"]
    plain_target = OpenMMTarget(particles(2, openmm.HarmonicBondForce()), KELVIN, backend="openmm", n_contexts=3)
    assert "3 contexts" in plain_target.backend_reason and len(plain_target._evaluator.contexts) == 3


def test_foreign_code_is_let_in_alone():
    inside, done = threading.Event(), threading.Event()

    def enter():
        with evaluated_alone(["PythonForce"]):
            inside.set()
        done.set()

    with evaluated_alone(["PythonForce"]), evaluated_alone(["PythonForce"]):  # does not wait for itself
        threading.Thread(target=enter).start()
        assert not inside.wait(0.05)
        with evaluated_alone([]):
            pass
    assert done.wait(10) and inside.is_set()
