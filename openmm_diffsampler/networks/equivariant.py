"""A network for particles whose output turns, shifts and permutes with its input, over unordered pairs."""

import math

import torch
from torch.nn.functional import silu

from .embedding import TimeEmbedding

__all__ = ["EquivariantNetwork"]


class EquivariantNetwork(torch.nn.Module):
    r"""(x, t) → vectors like x with zero sum, equivariant under rotations, reflections, permutations; blind to shifts.

    The score of a density of interparticle distances is a sum of forces between pairs that obey action and reaction, so
    every message belongs to an unordered pair, half of what ordered pairs cost. Each layer has features
    :math:`e_{ij}` of pairs, :math:`h_i` of particles and vectors :math:`v_i`, which tell angles,

    .. math:: e_{ij} \leftarrow e_{ij} + \phi_e\big(e_{ij}, h_i + h_j, (v_i - v_j) \cdot \hat r_{ij}, t\big), \qquad
              h_i \leftarrow h_i + \phi_h\Big(h_i, \sum_j e_{ij}\Big), \qquad
              v_i \leftarrow v_i + \sum_j \phi_v(e_{ij})\,\hat r_{ij}

    with :math:`\hat r = r/(\ell + |r|)`, and the output is :math:`\sum_j \phi(e_{ij})\,\hat r_{ij}`. All particles
    start alike, as those of one kind do. Distances enter once, through bumps that are even in asinh(|r|/ℓ).

    Pairs are rows of dense arrays (pairs, batch, width): a constant matrix sums over the two ends, and nothing is
    gathered by an index.

    Arguments:
        n_particles, n_dimensions: of x.
        width: of h and e.
        n_layers: of messages.
        n_vectors: v of a particle.
        n_radial: bumps.
        length: ℓ, in the units of x: where distances start to matter by their ratio, not their difference.
        furthest: the distance of the last bump, in the units of x.
        n_time_features: of the time embedding.

    References:
        Satorras, Hoogeboom & Welling, E(n) equivariant graph neural networks, ICML 2021; Schütt, Unke & Gastegger,
        Equivariant message passing (PaiNN), ICML 2021, for the vectors.

    Example:
        >>> network = EquivariantNetwork(13, 3, width=16, n_layers=2)
        >>> network(torch.randn(5, 13, 3), torch.rand(5)).shape
        torch.Size([5, 13, 3])
    """

    def __init__(
        self,
        n_particles,
        n_dimensions,
        *,
        width=64,
        n_layers=3,
        n_vectors=8,
        n_radial=32,
        length=0.5,
        furthest=10.0,
        n_time_features=32,
    ):
        super().__init__()
        if n_particles < 2:
            raise ValueError(f"n_particles is {n_particles}; there must be a pair")
        self.n_particles, self.n_dimensions, self.length = n_particles, n_dimensions, float(length)
        first, second = torch.triu_indices(n_particles, n_particles, offset=1)
        ends = torch.eye(n_particles)
        self.register_buffer("difference", ends[first] - ends[second], persistent=False)
        self.register_buffer("total", ends[first] + ends[second], persistent=False)
        self.embedding = TimeEmbedding(n_time_features)
        self.of_time = torch.nn.Linear(n_time_features, width)
        self.register_buffer("centres", torch.linspace(0, math.asinh(furthest / length), n_radial), persistent=False)
        self.radial = torch.nn.Linear(n_radial, width)
        self.layers = torch.nn.ModuleList(
            _Layer(width, n_vectors, n_time_features, n_particles, is_first=k == 0, is_last=k == n_layers - 1)
            for k in range(n_layers)
        )
        self.push = torch.nn.Linear(width, 1)
        torch.nn.init.zeros_(self.push.weight)  # a new network gives zero
        torch.nn.init.zeros_(self.push.bias)

    def forward(self, x, t):
        """x (n, n_particles, n_dimensions), t (n,) → the same shape as x."""
        time = self.embedding(t)
        with torch.autocast(x.device.type, enabled=False):  # half a digit of a coordinate is too few
            direction, bumps = self._geometry(x.to(time.dtype).transpose(0, 1))
        e = self.radial(bumps)
        h = self.of_time(time).unsqueeze(0)
        v = None
        for layer in self.layers:
            e, h, v = layer(e, h, v, direction, time, self)
        push = self.push(e)
        with torch.autocast(x.device.type, enabled=False):
            out = _over(self.difference.T, push.to(time.dtype) * direction)
        return out.transpose(0, 1).to(x.dtype)

    def _geometry(self, particles):
        """Directions and bumps of the pairs, (n_pairs, n, n_dimensions) and (n_pairs, n, n_radial)."""
        pair = _over(self.difference, particles)
        distance = pair.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()  # the root has no derivative at zero
        spacing = self.centres[1] - self.centres[0]
        bumps = (-0.5 * (((distance / self.length).asinh() - self.centres) / spacing).square()).exp()
        return pair / (self.length + distance), bumps


def _over(matrix, values):
    """matrix @ values along the first axis of (rows, ...)."""
    return (matrix @ values.reshape(len(values), -1)).reshape(len(matrix), *values.shape[1:])


class _Layer(torch.nn.Module):
    def __init__(self, width, n_vectors, n_time_features, n_particles, *, is_first, is_last):
        super().__init__()
        self.is_first, self.is_last, self.scale = is_first, is_last, 1 / (n_particles - 1)
        self.of_pair = torch.nn.Linear(width, width)
        self.of_time = torch.nn.Linear(n_time_features, width, bias=False)
        self.of_ends = torch.nn.Linear(width, width, bias=False)
        if not is_first:
            self.of_stretch = torch.nn.Linear(n_vectors, width, bias=False)
        self.message = torch.nn.Linear(width, width)
        if not is_last:
            self.node = torch.nn.Sequential(
                torch.nn.Linear(2 * width, width), torch.nn.SiLU(), torch.nn.Linear(width, width)
            )
            self.vectors = torch.nn.Linear(width, n_vectors, bias=False)

    def forward(self, e, h, v, direction, time, network):
        of_batch = self.of_time(time)
        if self.is_first:  # particles are alike still
            m = self.of_pair(e).add_(of_batch + 2 * self.of_ends(h))
        else:
            m = self.of_pair(e).add_(_over(network.total, self.of_ends(h) + 0.5 * of_batch))
            stretch = (_over(network.difference, v) * direction.unsqueeze(-1)).sum(2)
            m = m.add_(self.of_stretch(stretch))
        in_place = not torch.is_grad_enabled()  # memory traffic is half the cost
        m = silu(self.message(silu(m, inplace=in_place)), inplace=in_place)
        e = e + m
        if self.is_last:
            return e, h, v
        received = _over(network.total.T, m) * self.scale
        h = h + self.node(torch.cat([h.expand_as(received), received], -1))
        pushed = _over(network.difference.T, direction.unsqueeze(-1) * self.vectors(m).unsqueeze(2)) * self.scale
        return e, h, pushed if v is None else v + pushed
