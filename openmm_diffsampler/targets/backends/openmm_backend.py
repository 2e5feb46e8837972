"""Energies and forces of a batch from a pool of OpenMM contexts: any force, any platform."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from threading import Event
from typing import Any

import numpy as np
import openmm
import torch

from ..terms.expression_bounds import require_readable_expressions
from .differences import STEP, force_difference
from .foreign_forces import evaluated_alone, foreign_forces, inside
from .threads import RenewedLock, renewed_after_fork
from .timing import calls_per_second

__all__ = ["OpenMMBackend", "fastest_platform", "require_picklable"]

_log = logging.getLogger(__name__)

#: The largest coordinate that platforms of single precision know.
_LARGEST_SINGLE = float(np.finfo(np.float32).max)


def _properties(platform: openmm.Platform, properties: dict[str, str] | None) -> dict[str, str]:
    """Settings that suit many small contexts side by side: one thread each on the CPU, double precision on a GPU."""
    names = platform.getPropertyNames()
    wanted = {"Threads": "1"} if platform.getName() == "CPU" else {"Precision": "double", "UseCpuPme": "false"}
    return {**{k: v for k, v in wanted.items() if k in names}, **(properties or {})}


def _context(
    system: openmm.System,
    platform: openmm.Platform,
    properties: dict[str, str],
    integrator: openmm.Integrator | None = None,
) -> openmm.Context:
    return openmm.Context(system, integrator or openmm.VerletIntegrator(0.001), platform, properties)


def fastest_platform(
    system: openmm.System, positions: np.ndarray, seconds: float = 0.2, known: dict[str, float] | None = None
) -> str:
    """Name of the platform that evaluates `system` at `positions` (n_atoms, 3) most often per second.

    A short trial decides, since it depends on the system: for small ones the Reference platform often wins. Platforms
    whose evaluations per second are `known` are not tried.
    """
    rates = dict(known or {})
    with evaluated_alone(foreign_forces(system)):
        for k in range(openmm.Platform.getNumPlatforms()):
            platform = openmm.Platform.getPlatform(k)
            if platform.getName() in rates:
                continue
            try:
                context = _context(system, platform, _properties(platform, None))

                def evaluate(context: openmm.Context = context) -> None:
                    context.setPositions(positions)
                    context.getState(getEnergy=True, getForces=True)

                rates[platform.getName()] = calls_per_second(evaluate, seconds)
            except openmm.OpenMMException:  # a platform whose device or driver is absent
                if platform.getName() == "Reference":  # which is there always: the forces themselves fail
                    raise
    return max(rates, key=rates.get)


class OpenMMBackend:
    """Energies (kJ/mol) and forces (kJ/mol/nm) by OpenMM, the batch shared among contexts in threads.

    One batch at a time: threads that ask for others wait. A forked child and a copy make contexts of their own when
    they first need them, from the System as it is then.

    Arguments:
        system: an openmm System, which must not change afterwards.
        platform: name of an OpenMM platform.
        n_contexts: contexts that run side by side; one where the System holds code that is not OpenMM's own
            (:mod:`~.foreign_forces`), however many are asked for.
        properties: platform properties, over the defaults (one thread a context on CPU, double precision on GPUs).
        dtype, device: of the tensors that come and go.

    Raises:
        ExpressionError: an energy expression is so long or deep that OpenMM would not survive it.
    """

    def __init__(
        self,
        system: openmm.System,
        *,
        platform: str,
        n_contexts: int,
        properties: dict[str, str] | None = None,
        dtype: torch.dtype = torch.float64,
        device: str | torch.device = "cpu",
    ) -> None:
        require_readable_expressions(system)
        self.system, self.n_atoms = system, system.getNumParticles()
        self.dtype, self.device, self.platform = dtype, torch.device(device), platform
        self.foreign = foreign_forces(system)
        self.n_contexts = 1 if self.foreign else n_contexts
        if self.n_contexts < n_contexts:
            _log.info("one context for %s, whose code may keep state", ", ".join(self.foreign))
        self.settings = _properties(openmm.Platform.getPlatformByName(platform), properties)
        double = platform == "Reference" or self.settings.get("Precision") == "double"
        self.step = STEP["double" if double else "single"]
        self._largest = np.finfo(np.float64).max if platform == "Reference" else _LARGEST_SINGLE
        self._start()
        self._make()

    def _start(self) -> None:
        self._lock = RenewedLock()
        self._contexts, self._integrators, self._threads = None, [], None
        renewed_after_fork(self)

    def renew(self) -> None:
        """Forget the contexts of a parent process, whose threads are not here.

        They are not ended either: an end would wait for those threads.
        """
        for owned in (*(self._contexts or ()), *self._integrators):
            owned.thisown = False
        self._contexts, self._integrators, self._threads = None, [], None

    def _make(self) -> None:
        if self._contexts is None:
            platform = openmm.Platform.getPlatformByName(self.platform)
            self._integrators = [openmm.VerletIntegrator(0.001) for _ in range(self.n_contexts)]
            self._contexts = [_context(self.system, platform, self.settings, one) for one in self._integrators]
            self._threads = ThreadPoolExecutor(self.n_contexts)

    @property
    def contexts(self) -> list[openmm.Context]:
        """The contexts of this process."""
        with self._lock.lock:
            self._make()
            return self._contexts

    def energy_and_forces(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energies (n,) and forces (n, n_atoms, 3) of positions (n, n_atoms, 3).

        NaN where coordinates or the energy are; any error of OpenMM or of a Python function in the System is raised.
        """
        positions = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float64)
        energy, forces = np.full(len(positions), np.nan), np.full(positions.shape, np.nan)
        # What is no number, or none on this platform, is not asked for: platforms differ in what they say.
        rows = np.flatnonzero((np.abs(positions) <= self._largest).all((1, 2)))
        stopped = Event()

        def run(context: openmm.Context, share: np.ndarray) -> None:
            with inside():  # foreign code: the thread that waits for this one was let in
                for k in share:
                    if stopped.is_set():
                        return
                    context.setPositions(positions[k])
                    state = context.getState(getEnergy=True, getForces=True)
                    energy[k] = state.getPotentialEnergy()._value
                    forces[k] = state.getForces(asNumpy=True)._value

        with evaluated_alone(self.foreign), self._lock.lock:
            self._make()
            shares = zip(self._contexts, np.array_split(rows, len(self._contexts)), strict=True)
            work = []
            try:
                for context, share in shares:
                    if len(share):
                        work.append(self._threads.submit(run, context, share))
                for task in work:
                    task.result()
            except BaseException:  # also when the user interrupts: nobody may use a context that the next batch takes
                stopped.set()
                wait_for(work)
                raise
        return tuple(torch.as_tensor(a).to(self.device, self.dtype) for a in (energy, forces))

    def force_vjp(self, x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """vᵀ∂F/∂x by central differences of forces."""
        product = force_difference(self.energy_and_forces, x.double(), v.double(), self.step)
        return product.to(self.device, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return state | {"_largest": self._largest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __reduce_ex__(self, protocol: int) -> Any:
        require_picklable(self.system)
        return super().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> OpenMMBackend:
        copied = type(self).__new__(type(self))
        copied.__setstate__(self.__getstate__())
        return copied


def require_picklable(system: openmm.System) -> None:
    """Raise PicklingError, with the reason, where OpenMM cannot write `system` down."""
    try:
        openmm.XmlSerializer.serialize(system)
    except openmm.OpenMMException as error:
        raise pickle.PicklingError(
            f"a target of this System cannot be pickled, since OpenMM cannot write the System down ({error}); use a "
            "function defined at the top level of a module in a PythonForce, or make the target in each process"
        ) from error
