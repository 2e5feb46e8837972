"""Comparison of a backend with OpenMM's Reference platform, and configurations to compare at."""

import threading

import numpy as np
import openmm
import torch

from openmm_diffsampler.targets.backends.kernel import KernelBackend
from openmm_diffsampler.targets.backends.openmm_backend import OpenMMBackend
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.translate import translate_system

__all__ = [
    "assert_agrees",
    "closed_form",
    "force_error",
    "in_threads",
    "particles",
    "random_positions",
    "reference",
    "thermal",
]


def particles(n, *forces):
    """A System of n particles with the forces."""
    system = openmm.System()
    for _ in range(n):
        system.addParticle(1.0)
    for force in forces:
        system.addForce(force)
    return system


def in_threads(work, n=4):
    """Call `work` with 0, 1, …, n − 1, each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=work, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def random_positions(n, batch=20, scale=0.25, seed=3):
    """(batch, n, 3) normal positions in nm."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, n, 3, dtype=torch.float64, generator=generator) * scale


def thermal(system, positions, n=3, steps=60, seed=1, platform="Reference"):
    """Snapshots (n, n_atoms, 3) of Langevin dynamics at 300 K, `steps` of 0.5 fs apart."""
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.0005)
    integrator.setRandomNumberSeed(seed)
    repeatable = {"DeterministicForces": "true"} if platform == "CPU" else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), repeatable)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300, seed)
    frames = []
    for _ in range(n):
        integrator.step(steps)
        frames.append(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    return torch.as_tensor(np.array(frames))


def reference(system):
    return OpenMMBackend(system, platform="Reference", n_contexts=1)


def closed_form(system, **kwargs):
    return TorchBackend(translate_system(system), **kwargs)


def force_error(forces, exact):
    """Largest |ΔF|/|F| of a batch; |F| counts as at least 1e-6 kJ/mol/nm, for configurations without force."""
    return float(((forces - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1).clamp(min=1e-6)).max())


def assert_agrees(system, x, tolerance=1e-10, dtype=torch.float64):
    """Closed-form energies and forces at `x`, in torch and compiled, are those of the Reference platform."""
    table = translate_system(system)
    exact_energy, exact_forces = reference(system).energy_and_forces(x)
    assert exact_energy.isfinite().all()
    scale = exact_energy.abs() + exact_forces.flatten(1).norm(dim=1).clamp(min=1e-6)
    for backend in (TorchBackend, KernelBackend):
        energy, forces = backend(table, dtype=dtype).energy_and_forces(x.to(dtype))
        assert force_error(forces, exact_forces) <= tolerance, backend
        assert ((energy - exact_energy).abs() <= tolerance * scale).all(), backend
