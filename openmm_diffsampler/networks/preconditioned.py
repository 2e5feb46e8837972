"""A score as a Gaussian's plus what a network adds, in the sizes that the target has at each level of noise."""

import torch

__all__ = ["PreconditionedScore"]


class PreconditionedScore(torch.nn.Module):
    r"""s(x, t) = −a(t) x + b(t) F(c(t) x, t) with a network F.

    With a = 1/(α²τ² + σ²) a target of width τ is described before F has learnt anything; with b the root mean square of
    what is left, F learns numbers of order one at every level; with c = √a it sees them, too. The plain network is
    a = 0, b = c = 1. Coordinates that turn in circles have no Gaussian: there a = 0 and c = 1.

    Arguments:
        network: F, (x, t) → like x.
        skip, scale, inner: a, b and c at times that are even from 0 to 1, equally many numbers each; between them they
            are interpolated. They are saved with the weights.
        periods: of the coordinates, see :class:`~openmm_diffsampler.targets.Target`, or None.

    References:
        Karras, Aittala, Aila & Laine, Elucidating the design space of diffusion-based generative models, NeurIPS 2022.

    Example:
        >>> from openmm_diffsampler.networks import MLP
        >>> score = PreconditionedScore(MLP((1,)), skip=[1.0, 0.5], scale=[1.0, 1.0], inner=[1.0, 1.0])
        >>> score(torch.tensor([[2.0]]), torch.tensor([1.0])).detach()  # a new MLP gives zero
        tensor([[-1.]])
    """

    def __init__(self, network, skip, scale, inner, periods=None):
        super().__init__()
        self.network = network
        tables = torch.tensor([list(map(float, values)) for values in (skip, scale, inner)])
        self.register_buffer("tables", tables)
        self.register_buffer("is_real", None if periods is None else periods.isinf(), persistent=False)

    def set_tables(self, skip, scale, inner):
        """Replace a, b and c, by as many numbers as before."""
        self.tables.copy_(torch.stack([torch.as_tensor(values) for values in (skip, scale, inner)]))

    def forward(self, x, t):
        """x (n, *event_shape), t (n,) → like x, in the precision of x."""
        skip, scale, inner = (
            values.to(x.dtype).reshape(-1, *(1 for _ in x.shape[1:])) for values in interpolate(self.tables, t)
        )
        if self.is_real is not None:
            inner, skip = torch.where(self.is_real, inner, 1.0), torch.where(self.is_real, skip, 0.0)
        return scale * self.network(inner * x, t) - skip * x


def interpolate(tables, t):
    """Rows of `tables` (n_tables, n_grid), even from t = 0 to 1, at t (n,): (n_tables, n)."""
    tables, last = tables.to(t.device), tables.shape[1] - 1
    position = t.to(tables.dtype).clamp(0, 1) * last
    left = position.long().clamp(max=last - 1)
    part = position - left
    return tables[:, left] * (1 - part) + tables[:, left + 1] * part
