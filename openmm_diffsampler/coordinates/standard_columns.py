"""Configurations as rows of standardised numbers: angles first, then real numbers of mean zero and width one."""

import torch

__all__ = ["StandardColumns"]


class StandardColumns:
    r"""The change of variables y ↔ c, c = (y − centre)/scale column by column in another order, :math:`dy = |D|\,dc`.

    Columns of a molecule follow its z-matrix, so that each comes after those that it depends on most: first the
    torsions that turn, in radians, then bond, angle and stiff torsion of one atom after the other. Stiff torsions are
    real numbers within half a turn of their mean.

    Particles whose centroid is at zero are first written in an orthonormal basis of that subspace.

    Arguments:
        order: columns of the flattened y (of its components in the basis), angles first.
        n_circular: angles.
        centre, scale, period: (D,) in units of y, in that order; the period of what is no torsion is infinite.
        event_shape: of y.
        basis: (D, number of entries of y) orthonormal rows, or None.

    Example:
        >>> columns = StandardColumns.of_density(torch.tensor([[1.0, 10.0], [3.0, 14.0]], dtype=torch.float64))
        >>> columns.to_columns(torch.tensor([[2.0, 12.0]], dtype=torch.float64))
        tensor([[0., 0.]])
        >>> columns.from_columns(torch.zeros(1, 2))
        (tensor([[ 2., 12.]], dtype=torch.float64), tensor([True]))
    """

    def __init__(self, order, n_circular, centre, scale, period, event_shape, basis=None):
        self.order, self.n_circular = [int(k) for k in order], int(n_circular)
        self.centre, self.scale, self.period = centre, scale, period
        self.event_shape, self.basis = tuple(event_shape), basis
        self.log_scale = float(scale.log().sum())

    @classmethod
    def of_density(cls, x):
        """Of a density without angles, from configurations (n, *event_shape)."""
        flat = x.flatten(1)
        endless = torch.full((flat.shape[1],), torch.inf, dtype=x.dtype)
        return cls(range(flat.shape[1]), 0, flat.mean(0), _width(flat), endless, x.shape[1:])

    @classmethod
    def of_particles(cls, x):
        """Of particles with their centroid at zero that are all alike, from configurations (n, n_particles, dim)."""
        n, dimensions = x.shape[1:]
        rising = torch.tril(torch.ones(n - 1, n, dtype=x.dtype))  # Helmert's: each particle against those before it
        rows = rising - torch.diag(torch.arange(1.0, n, dtype=x.dtype)) @ torch.eye(n, dtype=x.dtype)[1:]
        basis = torch.kron(rows / rows.norm(dim=1, keepdim=True), torch.eye(dimensions, dtype=x.dtype))
        d = len(basis)
        width = x.square().sum((1, 2)).mean().div(d).sqrt().expand(d).clone()
        return cls(range(d), 0, torch.zeros_like(width), width, torch.full_like(width, torch.inf), x.shape[1:], basis)

    @classmethod
    def of_molecule(cls, target, y):
        """Of an :class:`InternalTarget`, from configurations y (n, 3N − 6) in equilibrium.

        Angles are the torsions that turn; those that are held, and impropers, are real numbers.
        """
        first = target.coordinates.torsions.start
        angles = target.turning
        order = angles + [k for k in _by_atom(target.coordinates) if k not in set(angles)]
        stiff = order[len(angles) :]
        period = torch.full((y.shape[1],), torch.inf, dtype=y.dtype)
        period[first:] = target.turn
        centre, scale = y.mean(0), 1 / target.widths
        radians = y[:, first:] * target.widths[first:]
        centre[first:] = torch.atan2(radians.sin().mean(0), radians.cos().mean(0)) / target.widths[first:]
        centre[angles] = 0.0
        away = _to_half_turn(y - centre, period)[:, stiff]
        centre[stiff] += away.mean(0)
        scale[stiff] = _width(away)
        return cls(order, len(angles), centre[order], scale[order], period[order], y.shape[1:])

    def to_columns(self, y):
        """y (n, *event_shape) → c (n, D) in single precision, angles in [−π, π]."""
        flat = y.flatten(1) if self.basis is None else y.flatten(1).to(self.basis.dtype) @ self.basis.T
        away = flat[:, self.order] - self.centre
        return (_to_half_turn(away, self.period) / self.scale).float()

    def from_columns(self, c):
        """c (n, D) → y (n, *event_shape), and which rows (n,) lie in the one turn of stiff torsions that counts."""
        away = c.to(self.scale.dtype) * self.scale
        stiff = slice(self.n_circular, None)
        inside = (away[:, stiff].abs() <= self.period[stiff] / 2).all(1)
        flat = torch.empty_like(away)
        flat[:, self.order] = away + self.centre
        flat = flat if self.basis is None else flat @ self.basis
        return flat.reshape(-1, *self.event_shape), inside

    def state_dict(self):
        """What makes the same columns again."""
        names = ("order", "n_circular", "centre", "scale", "period") + (() if self.basis is None else ("basis",))
        return {name: getattr(self, name) for name in names} | {"event_shape": list(self.event_shape)}


def _width(values):
    return values.std(0).clamp(min=1e-6)


def _to_half_turn(away, period):
    """The same angles within half a period of zero; numbers without period stay."""
    return torch.where(torch.as_tensor(period).isinf(), away, away - period * torch.round(away / period))


def _by_atom(coordinates):
    """Columns of internal coordinates atom by atom: its bond, its angle, its torsion."""
    starts = (coordinates.bonds.start, coordinates.angles.start, coordinates.torsions.start)
    for atom in range(1, coordinates.n_atoms):
        for kind, start in enumerate(starts):
            if atom > kind:
                yield start + atom - 1 - kind
