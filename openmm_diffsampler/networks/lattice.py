"""A network for fields on a periodic square lattice, that moves with them."""

import math

import torch
from torch.nn.functional import pad, silu

from .embedding import TimeEmbedding

__all__ = ["LatticeNetwork"]


class LatticeNetwork(torch.nn.Module):
    """(x, t) → a field like x, equivariant under shifts of the lattice: convolutions with residual connections.

    Each layer sees the neighbours of a site and the mean over all of them; the first one also the mean field itself,
    in the units that it has for independent sites, and waves of it: what tells phases apart.

    The last layer starts at zero, so that a new network gives zero everywhere.

    Arguments:
        shape: (L_1, L_2) of the lattice; fields come flat, (n, L_1 L_2).
        width: channels.
        n_layers: hidden layers.
        n_time_features: of the time embedding.
        n_waves: pairs of sine and cosine of the mean field, with wavelengths from 4 down in powers of two.
        n_outputs: fields; with several they are stacked in front, (n_outputs, n, L_1 L_2).
        n_given: further fields that the network sees.

    References:
        Cohen & Welling, Group equivariant convolutional networks, ICML 2016.

    Example:
        >>> network = LatticeNetwork((4, 4), width=8, n_layers=2)
        >>> network(torch.zeros(5, 16), torch.rand(5)).shape
        torch.Size([5, 16])
    """

    def __init__(self, shape, *, width, n_layers, n_time_features=32, n_waves=0, n_outputs=1, n_given=0):
        super().__init__()
        self.shape, self.n_outputs, self.n_given = tuple(shape), n_outputs, n_given
        self.embedding = TimeEmbedding(n_time_features)
        self.register_buffer("waves", 2 * math.pi * 2.0 ** (torch.arange(n_waves) - 2), persistent=False)
        self.first = torch.nn.Conv2d(1 + n_given, width, 3)
        self.of_mean = torch.nn.Linear((1 + n_given) * (1 + 2 * n_waves), width)
        self.of_time = torch.nn.Linear(n_time_features, width)
        self.hidden = torch.nn.ModuleList(torch.nn.Conv2d(width, width, 3) for _ in range(n_layers))
        self.pooled = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(n_layers))
        self.last = torch.nn.Conv2d(width, n_outputs, 1)
        torch.nn.init.zeros_(self.last.weight)
        torch.nn.init.zeros_(self.last.bias)

    def forward(self, x, t, *given):
        """x (n, L_1 L_2), t (n,), fields like x → (n, L_1 L_2), or several of these.

        Raises:
            ValueError: other than `n_given` fields.
        """
        if len(given) != self.n_given:
            raise ValueError(f"{len(given)} fields are given beside x; the network takes {self.n_given}")
        fields = torch.stack([x, *given], 1).to(self.last.weight.dtype)
        mean = fields.mean(2) * fields.shape[2] ** 0.5
        angle = (mean.unsqueeze(-1) * self.waves).flatten(1)
        whole = self.of_mean(torch.cat([mean, angle.sin(), angle.cos()], 1)) + self.of_time(self.embedding(t))
        h = self.first(_around(fields.unflatten(2, self.shape))) + whole[..., None, None]
        for layer, pooled in zip(self.hidden, self.pooled, strict=True):
            active = silu(h)
            h = h + layer(_around(active)) + (pooled(active.mean((2, 3))) + whole)[..., None, None]
        out = self.last(silu(h)).flatten(2).to(x.dtype)
        return out.squeeze(1) if self.n_outputs == 1 else out.movedim(1, 0)


def _around(fields):
    """Fields with a rim of their neighbours across the boundary."""
    return pad(fields, (1, 1, 1, 1), mode="circular")
