"""A network for particles whose output turns, shifts and permutes with its input, over dense pairs."""

import torch
from torch.nn.functional import silu

from .embedding import TimeEmbedding

__all__ = ["EquivariantNetwork"]


class EquivariantNetwork(torch.nn.Module):
    r"""(x, t) → vectors like x with zero sum, equivariant under rotations, reflections, permutations; blind to shifts.

    Every layer sends messages between all pairs of particles,

    .. math:: m_{ij} = \phi_m(h_i, h_j, |x_i - x_j|^2, t), \qquad
              x_i \leftarrow x_i + \frac{1}{N - 1} \sum_j \frac{x_i - x_j}{1 + |x_i - x_j|}\,\phi_x(m_{ij}), \qquad
              h_i \leftarrow h_i + \phi_h\Big(h_i, \sum_j m_{ij}\Big),

    and the output is how far the particles went. All particles start alike, as those of one kind do. Pairs are dense:
    the first layer of φ_m is split into terms of single particles, and no pair is gathered by an index.

    Arguments:
        n_particles, n_dimensions: of x.
        width: of h and m.
        n_layers: of messages.
        n_time_features: of the time embedding.

    References:
        Satorras, Hoogeboom & Welling, E(n) equivariant graph neural networks, ICML 2021.

    Example:
        >>> network = EquivariantNetwork(13, 3, width=16, n_layers=2)
        >>> network(torch.randn(5, 13, 3), torch.rand(5)).shape
        torch.Size([5, 13, 3])
    """

    def __init__(self, n_particles, n_dimensions, *, width=64, n_layers=3, n_time_features=32):
        super().__init__()
        self.n_particles, self.n_dimensions = n_particles, n_dimensions
        self.embedding = TimeEmbedding(n_time_features)
        self.start = torch.nn.Linear(n_time_features, width)
        self.layers = torch.nn.ModuleList(_Layer(width) for _ in range(n_layers))

    def forward(self, x, t):
        """x (n, n_particles, n_dimensions), t (n,) → the same shape as x."""
        dtype = self.start.weight.dtype
        start = x.to(dtype)
        moved, h = start, self.start(self.embedding(t)).unsqueeze(1).expand(-1, self.n_particles, -1)
        for layer in self.layers:
            moved, h = layer(moved, h)
        displacement = moved - start
        return (displacement - displacement.mean(1, keepdim=True)).to(x.dtype)


class _Layer(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.of_first, self.of_second = torch.nn.Linear(width, width), torch.nn.Linear(width, width, bias=False)
        self.of_square = torch.nn.Linear(1, width, bias=False)
        self.message = torch.nn.Linear(width, width)
        self.push = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.SiLU(), torch.nn.Linear(width, 1))
        self.node = torch.nn.Sequential(
            torch.nn.Linear(2 * width, width), torch.nn.SiLU(), torch.nn.Linear(width, width)
        )
        torch.nn.init.normal_(self.push[-1].weight, std=1e-3)  # a new network moves particles by little
        torch.nn.init.zeros_(self.push[-1].bias)

    def forward(self, x, h):
        n = x.shape[1]
        edge = x.unsqueeze(2) - x.unsqueeze(1)
        square = edge.square().sum(-1, keepdim=True)
        m = self.of_first(h).unsqueeze(2) + self.of_second(h).unsqueeze(1) + self.of_square(square)
        m = silu(self.message(silu(m)))
        others = 1 - torch.eye(n, dtype=x.dtype, device=x.device).unsqueeze(-1)
        distance = square.clamp(min=1e-12).sqrt()  # the root has no derivative at zero
        x = x + (edge / (1 + distance) * self.push(m) * others).sum(2) / (n - 1)
        return x, h + self.node(torch.cat([h, (m * others).sum(2)], -1))
