"""Energies and forces of a batch in one fused pass, compiled for the processor that runs it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from ..differences import STEP, force_difference
from ..threads import RenewedLock, n_threads, submitted
from .code import NAME, Kernel
from .machine_code import load

__all__ = ["KernelBackend", "KernelTooLargeError"]

#: Bytes of a vector, configurations of a block × bytes of a number: the widest registers there are. Two registers a
#: vector were no faster, and a batch of one would wait longer.
_VECTOR_BYTES = 64
#: Seconds of work that are worth waking a thread for.
_WORTH_A_THREAD = 1e-4
#: Bytes of one thread's workspace that are allowed: those of a generalised Born term grow with the square of the atoms.
_LARGEST_WORKSPACE = 200_000_000


class KernelTooLargeError(ValueError):
    """A System whose workspace would not fit."""


class KernelBackend:
    """Energies and forces of a :class:`~...terms.table.TermTable` on a CPU.

    Configurations are taken in blocks, one a lane of the processor's vectors; all terms of a block are computed before
    the next one is read, so that nothing leaves the cache. Threads take blocks as they get done, each with a workspace
    of its own.

    Arguments:
        table: the terms.
        dtype: of the evaluation.
        n_dimensions: coordinates of an atom.
        threads: how many share a batch; by default one a processor.
        scale: a factor of energies and forces.

    Energies are in kJ/mol, forces in kJ/mol/nm, both times `scale`. Where they are not finite, the energy is +∞ and
    forces are zero.

    Raises:
        KernelTooLargeError: a workspace would take more than 200 MB.
    """

    def __init__(self, table, *, dtype=torch.float64, n_dimensions=3, threads=None, scale=1.0):
        self.table, self.dtype, self.n_dimensions = table, dtype, n_dimensions
        self.bytes = 8 if dtype == torch.float64 else 4
        self.width = _VECTOR_BYTES // self.bytes
        self.threads, self.scale = threads or n_threads(), scale
        pairs = table.n_atoms**2 * sum(hasattr(term, "values") for term in table.terms)
        if 2 * pairs * _VECTOR_BYTES > _LARGEST_WORKSPACE:
            raise KernelTooLargeError(f"{table.n_atoms} atoms in a generalised Born term are too many for this backend")
        kernel = Kernel(table, 8 * self.bytes, self.width, n_dimensions, scale)
        self.function, self._engine = load(kernel.code, NAME)
        self.reals, self.wholes = kernel.data.arrays(np.float64 if self.bytes == 8 else np.float32)
        self._workspace_size = kernel.workspace_size
        self._start()

    def _start(self) -> None:
        """Make what belongs to one object of this class alone."""
        self.workspaces = [self._aligned(self._workspace_size) for _ in range(self.threads)]
        self._lock = RenewedLock()
        self._block_seconds = 1.0  # of one block; learnt from each batch

    def _aligned(self, n):
        raw = np.zeros(n * self.bytes + _VECTOR_BYTES, dtype=np.uint8)
        start = -raw.ctypes.data % _VECTOR_BYTES
        return raw[start : start + n * self.bytes]

    def energy_and_forces(self, x):
        """Energies (n,) and forces (n, n_atoms, n_dimensions) of positions like the forces."""
        x = x.detach().contiguous()
        energy, forces = torch.empty(len(x), dtype=self.dtype), torch.empty_like(x)
        taken, busy = np.zeros(1, dtype=np.int64), []
        n_blocks = -(-len(x) // self.width)
        n_workers = max(1, min(self.threads, n_blocks, int(n_blocks * self._block_seconds / _WORTH_A_THREAD)))

        def work(workspace, outputs=(energy, forces)):  # which live as long as anybody writes to them
            arrays = [t.data_ptr() for t in (x, *outputs)]
            own = [a.ctypes.data for a in (workspace, self.reals, self.wholes, taken)]
            start = time.perf_counter()
            self.function(*arrays, *own, len(x))
            busy.append(time.perf_counter() - start)

        with self._lock:  # the workspaces serve one batch at a time
            others = submitted(self.threads, work, self.workspaces[1:n_workers])
            try:
                work(self.workspaces[0])
            finally:  # also when the user interrupts
                for other in others:
                    if not other.cancel():  # one that has not started by now has nothing left to do
                        other.result()
            if n_blocks:
                self._block_seconds = min(self._block_seconds, sum(busy) / n_blocks)
        return energy, forces

    def force_vjp(self, x, v):
        """vᵀ ∂F/∂x by central differences of forces in double precision; relative error about 1e-9."""
        double = self if self.dtype == torch.float64 else self._double()
        return force_difference(double.energy_and_forces, x.double(), v.double(), STEP["double"]).to(self.dtype)

    def _double(self):
        if not hasattr(self, "_in_double"):
            options = {"n_dimensions": self.n_dimensions, "threads": self.threads, "scale": self.scale}
            self._in_double = KernelBackend(self.table, **options)
        return self._in_double

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in ("dtype", "n_dimensions", "threads", "scale")}
        return _made_again, (self.table, options)

    def __deepcopy__(self, memo: dict[int, Any]) -> KernelBackend:
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))  # code and numbers do not change
        copied._start()
        return copied


def _made_again(table: Any, options: dict[str, Any]) -> KernelBackend:
    return KernelBackend(table, **options)
