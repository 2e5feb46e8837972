"""Energies and forces of a batch from a pool of OpenMM contexts: any force, any platform."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import torch

from .differences import STEP, force_difference
from .timing import calls_per_second

__all__ = ["OpenMMBackend", "fastest_platform"]


def _properties(platform, properties):
    """Settings that suit many small contexts side by side: one thread each on the CPU, double precision on a GPU."""
    names = platform.getPropertyNames()
    wanted = {"Threads": "1"} if platform.getName() == "CPU" else {"Precision": "double", "UseCpuPme": "false"}
    return {**{k: v for k, v in wanted.items() if k in names}, **(properties or {})}


def _context(system, platform, properties):
    return openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)


def fastest_platform(system, positions, seconds=0.2):
    """Name of the platform that evaluates `system` at `positions` (n_atoms, 3) most often per second.

    A short trial decides, since it depends on the system: for small ones the Reference platform often wins.
    """
    rates = {}
    for k in range(openmm.Platform.getNumPlatforms()):
        platform = openmm.Platform.getPlatform(k)
        try:
            context = _context(system, platform, _properties(platform, None))

            def evaluate(context=context):
                context.setPositions(positions)
                context.getState(getEnergy=True, getForces=True)

            rates[platform.getName()] = calls_per_second(evaluate, seconds)
        except openmm.OpenMMException:  # a platform whose device or driver is absent
            continue
    return max(rates, key=rates.get)


class OpenMMBackend:
    """Energies (kJ/mol) and forces (kJ/mol/nm) by OpenMM, the batch shared among contexts in threads.

    Arguments:
        system: an openmm System.
        platform: name of an OpenMM platform.
        n_contexts: contexts that run side by side.
        properties: platform properties, over the defaults (one thread a context on CPU, double precision on GPUs).
        dtype, device: of the tensors that come and go.
    """

    def __init__(self, system, *, platform, n_contexts, properties=None, dtype=torch.float64, device="cpu"):
        self.n_atoms, self.dtype, self.device = system.getNumParticles(), dtype, torch.device(device)
        self.platform = platform
        chosen = openmm.Platform.getPlatformByName(platform)
        settings = _properties(chosen, properties)
        self.contexts = [_context(system, chosen, settings) for _ in range(n_contexts)]
        self.threads = ThreadPoolExecutor(n_contexts)
        double = platform == "Reference" or settings.get("Precision") == "double"
        self.step = STEP["double" if double else "single"]

    def _run(self, context, positions, energy, forces):
        for k, frame in enumerate(positions):
            try:
                context.setPositions(frame)
                state = context.getState(getEnergy=True, getForces=True)
                energy[k] = state.getPotentialEnergy()._value
                forces[k] = state.getForces(asNumpy=True)._value
            except openmm.OpenMMException as error:  # how the CPU platform reports NaN, which is a valid answer here
                if "nan" not in str(error).lower() and np.isfinite(frame).all():
                    raise
                energy[k], forces[k] = np.nan, np.nan

    def energy_and_forces(self, x):
        """Energies (n,) and forces (n, n_atoms, 3) of positions (n, n_atoms, 3)."""
        positions = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float64)
        energy, forces = np.empty(len(positions)), np.empty(positions.shape)
        shares = np.array_split(np.arange(len(positions)), len(self.contexts))
        work = [
            self.threads.submit(self._run, context, *(a[rows[0] : rows[-1] + 1] for a in (positions, energy, forces)))
            for context, rows in zip(self.contexts, shares, strict=True)
            if len(rows)
        ]
        for task in work:
            task.result()
        return tuple(torch.as_tensor(a).to(self.device, self.dtype) for a in (energy, forces))

    def force_vjp(self, x, v):
        """vᵀ∂F/∂x by central differences of forces."""
        product = force_difference(self.energy_and_forces, x.double(), v.double(), self.step)
        return product.to(self.device, self.dtype)
