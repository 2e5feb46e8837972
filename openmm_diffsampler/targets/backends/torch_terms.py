"""Executors of single terms in torch: from geometric quantities (n, batch) to energies and derivatives by them."""

import math

import torch

from ..terms.table import VARIABLES
from .linear_maps import selection_map
from .torch_program import TorchProgram

__all__ = ["BodyExecutor", "GBExecutor", "MapExecutor"]

#: Terms × configurations evaluated at once: bounds the memory of temporaries in large systems.
_BLOCK = 4_000_000


def _run(program, n_terms, batch, **variables):
    """Outputs of `program` as (n_terms, batch) tensors, block by block where there are many."""
    if n_terms == 0:
        return [torch.zeros(0, batch, dtype=program.dtype, device=program.device)] * len(program.outputs)
    size = max(1, _BLOCK // batch)
    blocks = []
    for start in range(0, n_terms, size):
        stop = min(start + size, n_terms)
        if stop - start == n_terms:
            blocks.append(program(**variables))
        else:
            rows = slice(start, stop)
            blocks.append(program(rows, **{name: v[rows] for name, v in variables.items()}))
        blocks[-1] = [o.expand(stop - start, batch) for o in blocks[-1]]
    return blocks[0] if len(blocks) == 1 else [torch.cat(o) for o in zip(*blocks, strict=True)]


class _Rows:
    """Which of n quantities a term reads, as a slice where they lie together."""

    def __init__(self, rows, n, **kwargs):
        rows = torch.as_tensor(rows)
        start = int(rows[0]) if len(rows) else 0
        together = torch.equal(rows, torch.arange(start, start + len(rows)))
        self.slice = slice(start, start + len(rows)) if together else None
        self.map = None if together else selection_map(rows, n, **kwargs)

    def read(self, quantity):
        return quantity[self.slice] if self.map is None else self.map(quantity)

    def add(self, slope, values):
        """slope[rows] += values, repeated rows included."""
        if self.map is None:
            slope[self.slice] += values
        else:
            slope += self.map.transpose(values)


class BodyExecutor:
    """A :class:`~..terms.table.BodyTerm` whose terms use the quantities `rows` of the `n` that there are."""

    def __init__(self, term, rows, n, tables, **kwargs):
        self.n_terms = len(term.atoms)
        self.rows = _Rows(rows, n, **kwargs)
        self.program = TorchProgram(term.program, term.parameters, tables, **kwargs)
        self.variables = VARIABLES[term.geometry]

    def __call__(self, quantity, slope):
        """Energy (batch,); adds the derivatives by the quantities to `slope`."""
        values = self.rows.read(quantity)
        components = [values] if len(self.variables) == 1 else values.unbind(1)
        variables = dict(zip(self.variables, components, strict=True))
        energy, *derivatives = _run(self.program, self.n_terms, quantity.shape[-1], **variables)
        self.rows.add(slope, derivatives[0] if len(derivatives) == 1 else torch.stack(derivatives, 1))
        return energy.sum(0)


class MapExecutor:
    """A :class:`~..terms.table.MapTerm` over the torsions `first` and `second` of the `n` that there are."""

    def __init__(self, term, first, second, n, **kwargs):
        self.first, self.second = _Rows(first, n, **kwargs), _Rows(second, n, **kwargs)
        sizes = torch.tensor([len(c) for c in term.coefficients])
        starts = torch.cumsum(sizes**2, 0) - sizes**2
        which, device = torch.as_tensor(term.map_index), kwargs["device"]
        patches = [torch.as_tensor(c, dtype=torch.float64).reshape(-1, 16) for c in term.coefficients]
        self.patches = torch.cat(patches).to(**kwargs)
        self.size = sizes[which].reshape(-1, 1).to(device)
        # Dividing whole numbers would give torch's default precision, whatever that of the positions.
        self.per_radian = self.size.to(kwargs["dtype"]) / (2 * math.pi)
        self.start = starts[which].reshape(-1, 1).to(device)

    def _cell(self, torsion):
        """Index of the patch along one axis, and where in it, in [0, 1)."""
        place = torch.remainder(torsion, 2 * math.pi) * self.per_radian
        cell = torch.minimum(place.detach().long().clamp(min=0), self.size - 1)
        return cell, place - cell

    def __call__(self, torsions, slope):
        """Energy (batch,); adds the derivatives by the torsions to `slope`."""
        (i, t), (j, u) = self._cell(self.first.read(torsions)), self._cell(self.second.read(torsions))
        c = self.patches[self.start + i * self.size + j].unflatten(-1, (4, 4))
        one, zero = torch.ones_like(t), torch.zeros_like(t)
        t_powers, t_slopes = torch.stack([one, t, t**2, t**3], -1), torch.stack([zero, one, 2 * t, 3 * t**2], -1)
        u_powers, u_slopes = torch.stack([one, u, u**2, u**3], -1), torch.stack([zero, one, 2 * u, 3 * u**2], -1)
        along_u = (c * u_powers.unsqueeze(-2)).sum(-1)
        self.first.add(slope, (t_slopes * along_u).sum(-1) * self.per_radian)
        self.second.add(slope, (t_powers * (c * u_slopes.unsqueeze(-2)).sum(-1)).sum(-1) * self.per_radian)
        return (t_powers * along_u).sum(-1).sum(0)


class _PairStage:
    """One program over atom pairs, in one order (i, j) or in both, that may leave exclusions out."""

    def __init__(self, stage, term, pairs, n_atoms, tables, *, both_orders, **kwargs):
        keep = torch.as_tensor(term.kept_pairs(stage, pairs.numpy()))
        self.n_pairs = len(keep)
        self.rows = _Rows(keep, len(pairs), **kwargs)
        first, second = pairs[keep].unbind(1)
        ends = torch.cat([first, second]), torch.cat([second, first])
        self.ends = selection_map(ends[0], n_atoms, **kwargs)
        if not both_orders:
            ends = first, second
        self.n_terms = len(ends[0])
        parameters = {f"{k}{i + 1}": v[ends[i].numpy()] for k, v in term.parameters.items() for i in (0, 1)}
        self.program = TorchProgram(stage.program, parameters, tables, **kwargs)

    def run(self, r, **variables):
        return _run(self.program, self.n_terms, r.shape[-1], r=r, **variables)


class GBExecutor:
    """A :class:`~..terms.table.GBTerm` over `pairs`, all pairs of atoms in the order of the distances."""

    def __init__(self, term, pairs, n_atoms, tables, **kwargs):
        self.term = term
        pairs = torch.as_tensor(pairs)

        def stages(items, both_orders):
            for item in items:
                if item.pair:
                    yield _PairStage(item, term, pairs, n_atoms, tables, both_orders=both_orders, **kwargs)
                else:
                    yield TorchProgram(item.program, term.parameters, tables, **kwargs)

        self.values = list(stages(term.values, True))
        self.energies = list(stages(term.energies, False))
        self.n_atoms = n_atoms

    def __call__(self, r, slope):
        """Energy (batch,); adds (∂E/∂r)/r to `slope`, through every computed value."""
        batch = r.shape[-1]
        values, partials = {}, {}
        for item, stage in zip(self.term.values, self.values, strict=True):
            if item.pair:
                value, partials[item.name] = stage.run(stage.rows.read(r).repeat(2, 1))
                values[item.name] = stage.ends.transpose(value)
            else:
                value, *partials[item.name] = _run(stage, self.n_atoms, batch, **values)
                values[item.name] = value
        adjoint = {name: torch.zeros_like(value) for name, value in values.items()}
        energy = self._energies(r, slope, values, adjoint)
        for item, stage in reversed([*zip(self.term.values, self.values, strict=True)]):
            if item.pair:
                by_pair = stage.ends(adjoint[item.name]) * partials[item.name]
                stage.rows.add(slope, by_pair[: stage.n_pairs] + by_pair[stage.n_pairs :])
            else:
                for name, partial in zip(item.depends_on, partials[item.name], strict=True):
                    adjoint[name] = adjoint[name] + adjoint[item.name] * partial
        return energy

    def _energies(self, r, slope, values, adjoint):
        energy = 0.0
        for item, stage in zip(self.term.energies, self.energies, strict=True):
            if item.pair:
                ends = {name: stage.ends(values[name]).unflatten(0, (2, stage.n_pairs)) for name in item.depends_on}
                ends = {f"{name}{k + 1}": end[k] for name, end in ends.items() for k in (0, 1)}
                value, by_r, *by_ends = stage.run(stage.rows.read(r), **ends)
                stage.rows.add(slope, by_r)
                n = len(item.depends_on)
                by_values = [stage.ends.transpose(torch.cat([by_ends[k], by_ends[k + n]])) for k in range(n)]
            else:
                value, *by_values = _run(stage, self.n_atoms, r.shape[-1], **values)
            energy = energy + value.sum(0)
            for name, by_value in zip(item.depends_on, by_values, strict=True):
                adjoint[name] = adjoint[name] + by_value
        return energy
