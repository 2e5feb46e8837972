"""A table of terms executed in torch: closed-form energies and forces of a batch, on CPU or CUDA."""

import warnings

import numpy as np
import torch

from .differences import STEP, force_difference
from .torch_geometry import Angles, Distances, Positions, Torsions
from .torch_terms import BodyExecutor, GBExecutor, MapExecutor

__all__ = ["TorchBackend"]

_GEOMETRIES = {"distance": Distances, "angle": Angles, "torsion": Torsions, "position": Positions}

#: Configurations per chunk on a CPU are chosen so that one quantity of all pairs takes about this many bytes, which
#: keeps the temporaries in cache.
_CHUNK_BYTES = 250_000


def _canonical(atoms):
    """Atom tuples in the direction that all terms share: first atom below last (inner ones where those are equal)."""
    atoms = np.asarray(atoms)
    if atoms.shape[1] == 1:
        return atoms
    backwards = atoms[:, 0] > atoms[:, -1]
    if atoms.shape[1] == 4:
        backwards |= (atoms[:, 0] == atoms[:, -1]) & (atoms[:, 1] > atoms[:, 2])
    return np.where(backwards[:, None], atoms[:, ::-1], atoms)


class _Tuples:
    """The distinct atom tuples of one geometry; each term finds its own among them, in one piece where possible."""

    def __init__(self, requests, n_atoms):
        self.weights = n_atoms ** np.arange(requests[0].shape[1])[::-1]
        codes = np.empty(0, dtype=np.int64)
        for atoms in sorted(requests, key=len):  # small sets first: each larger one adds its rest behind them
            own, order = np.unique(self._codes(atoms), return_index=True)
            own = own[np.argsort(order)]
            codes = np.concatenate([codes, own[~np.isin(own, codes)]])
        self.codes, self.sorter = codes, np.argsort(codes)
        self.atoms = codes[:, None] // self.weights % n_atoms

    def _codes(self, atoms):
        return _canonical(atoms) @ self.weights

    def rows(self, atoms):
        return self.sorter[np.searchsorted(self.codes, self._codes(atoms), sorter=self.sorter)]


class TorchBackend:
    """Energies and forces of a :class:`~..terms.table.TermTable` in closed form.

    Arguments:
        table: the terms.
        dtype, device: of the evaluation.
        compiled: run energies and forces through torch.compile; by default on GPUs. Batches are filled up to a power of
            two, since each shape is compiled anew.

    Energies are in kJ/mol, forces in kJ/mol/nm.
    """

    def __init__(self, table, *, dtype=torch.float64, device="cpu", compiled=None):
        self.n_atoms, self.dtype, self.device = table.n_atoms, dtype, torch.device(device)
        self.table = table
        kwargs = {"dtype": dtype, "device": self.device}
        requests = {}
        for term in table.terms:
            for geometry, atoms in _uses(term, table.n_atoms):
                requests.setdefault(geometry, []).append(atoms)
        tuples = {geometry: _Tuples(atoms, table.n_atoms) for geometry, atoms in requests.items()}
        self.geometries = {
            geometry: _GEOMETRIES[geometry](torch.as_tensor(t.atoms), table.n_atoms, **kwargs)
            for geometry, t in tuples.items()
        }
        self.sizes = {geometry: len(t.codes) for geometry, t in tuples.items()}
        self.executors = {geometry: [] for geometry in tuples}
        for term in table.terms:
            geometry, executor = self._executor(term, table, tuples, kwargs)
            self.executors[geometry].append(executor)
        width = max([1, *self.sizes.values()]) * torch.finfo(dtype).bits // 8
        self.chunk = max(1, _CHUNK_BYTES // width) if self.device.type == "cpu" else max(1, 2**30 // (64 * width))
        self.compiled = self.device.type == "cuda" if compiled is None else compiled
        self._run = self._evaluate
        if self.compiled:
            self.chunk = 1 << (self.chunk.bit_length() - 1)  # so that a full one is not filled up
            config = torch._dynamo.config
            config.recompile_limit = max(config.recompile_limit, 256)  # of all backends and shapes together
            self._run = torch.compile(self._evaluate, dynamic=False)

    def __reduce__(self):
        return _made_again, (self.table, self.dtype, self.device, self.compiled)  # functions are printed from the table

    def _executor(self, term, table, tuples, kwargs):
        uses = [(geometry, tuples[geometry].rows(atoms)) for geometry, atoms in _uses(term, table.n_atoms)]
        geometry, rows = uses[0]
        if hasattr(term, "values"):
            return geometry, GBExecutor(term, tuples[geometry].atoms, table.n_atoms, table.tables, **kwargs)
        if hasattr(term, "coefficients"):
            return geometry, MapExecutor(term, rows, uses[1][1], self.sizes[geometry], **kwargs)
        return geometry, BodyExecutor(term, rows, self.sizes[geometry], table.tables, **kwargs)

    def _evaluate(self, x):
        """Energy (n,) and gradient (n, n_atoms, 3) of one chunk; differentiable by autograd."""
        positions = x.permute(1, 2, 0).contiguous()
        energy, gradient = positions.new_zeros(len(x)), torch.zeros_like(positions)
        for name, geometry in self.geometries.items():
            quantity, cache = geometry.values(positions)
            slope = torch.zeros_like(quantity)
            for executor in self.executors[name]:
                energy = energy + executor(quantity, slope)
            gradient = gradient + geometry.gradient(cache, slope)
        return energy, gradient.permute(2, 0, 1)

    def _filled_up(self, x):
        """Energy and gradient of a chunk by compiled code, with its last row repeated up to the next power of two."""
        n = 1 << max(4, (len(x) - 1).bit_length())
        full = torch.cat([x, x[-1:].expand(n - len(x), -1, -1)])
        try:
            energy, gradient = self._run(full)
        except (RuntimeError, ImportError, OSError) as error:  # no compiler for this device, or one that fails
            if self._run == self._evaluate or isinstance(error, torch.OutOfMemoryError):
                raise
            warnings.warn(f"torch.compile failed, so that energies run uncompiled: {error}", stacklevel=2)
            self._run = self._evaluate
            energy, gradient = self._run(full)
        return energy[: len(x)], gradient[: len(x)]

    def energy_and_forces(self, x):
        """Energies (n,) and forces (n, n_atoms, 3) of positions (n, n_atoms, 3)."""
        energy, forces = x.new_empty(len(x)), torch.empty_like(x)
        with torch.no_grad():
            for start in range(0, len(x), self.chunk):
                rows = slice(start, start + self.chunk)
                energy[rows], gradient = self._filled_up(x[rows]) if self.compiled else self._evaluate(x[rows])
                torch.neg(gradient, out=forces[rows])
        return energy, forces

    def force_vjp(self, x, v):
        """vᵀ ∂F/∂x (n, n_atoms, 3) for vectors v of the same shape."""
        product = torch.empty_like(x)
        for start in range(0, len(x), self.chunk):
            rows = slice(start, start + self.chunk)
            with torch.enable_grad():
                chunk = x[rows].detach().requires_grad_()
                gradient = self._evaluate(chunk)[1]
                # Forces that are constant have no graph.
                product[rows] = -torch.autograd.grad(gradient, chunk, v[rows])[0] if gradient.requires_grad else 0.0
        return self._without_nan(product, x, v)

    def _without_nan(self, product, x, v):
        """Rows that autograd lost in a branch which select() did not take, by differences of forces instead."""
        lost = ~product.flatten(1).isfinite().all(1)
        if lost.any():
            step = STEP["double" if self.dtype == torch.float64 else "single"]
            product[lost] = force_difference(self.energy_and_forces, x[lost], v[lost], step).to(self.dtype)
        return product


def _made_again(table, dtype, device, compiled):
    return TorchBackend(table, dtype=dtype, device=device, compiled=compiled)


def _uses(term, n_atoms):
    """The (geometry, atom tuples) that a term reads."""
    if hasattr(term, "values"):
        return [("distance", np.stack(np.triu_indices(n_atoms, 1), 1))]
    if hasattr(term, "coefficients"):
        return [("torsion", term.atoms[:, :4]), ("torsion", term.atoms[:, 4:])]
    return [(term.geometry, term.atoms)]
