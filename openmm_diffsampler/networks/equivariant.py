"""A network for particles whose output turns, shifts and permutes with its input, over unordered pairs."""

import math

import torch
from torch.nn.functional import silu

from .embedding import TimeEmbedding

__all__ = ["EquivariantNetwork"]


class EquivariantNetwork(torch.nn.Module):
    r"""(x, t) → vectors like x, equivariant under rotations, reflections, permutations; blind to shifts.

    The score of a density of interparticle distances is a sum of forces between pairs that obey action and reaction, so
    every message belongs to an unordered pair, half of what ordered pairs cost. Each layer has features
    :math:`e_{ij}` of pairs, :math:`h_i` of particles and vectors :math:`v_i`, which tell angles,

    .. math:: e_{ij} \leftarrow e_{ij} + \phi_e\big(e_{ij}, h_i + h_j, (v_i - v_j) \cdot \hat r_{ij}, t\big), \qquad
              h_i \leftarrow h_i + \phi_h\Big(h_i, \sum_j e_{ij}\Big), \qquad
              v_i \leftarrow v_i + \sum_j \phi_v(e_{ij})\,\hat r_{ij}

    with :math:`\hat r = r/(\ell + |r|)`, and the output is :math:`\sum_j \phi(e_{ij})\,\hat r_{ij}`, whose sum over the
    particles is zero. All particles start alike, as those of one kind do. Distances enter once, through bumps that are
    even in asinh(|r|/ℓ).

    Vectors of the particles may be given beside x: then v starts with mixtures of them and h with their lengths, and
    each counts in the output by a number that h gives; the sum of the output is then whatever it is.

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
        n_outputs: vectors a particle; with several they are stacked in front, (n_outputs, *x.shape).
        n_scalars: invariant numbers a particle beside them; see :meth:`forward`.
        n_given: vectors like x that are given beside it.

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
        n_outputs=1,
        n_scalars=0,
        n_given=0,
    ):
        super().__init__()
        self.n_outputs, self.n_scalars, self.n_given = n_outputs, n_scalars, n_given
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
            _Layer(
                width,
                n_vectors,
                n_time_features,
                n_particles,
                is_first=k == 0 and not n_given,
                is_last=k == n_layers - 1,
            )
            for k in range(n_layers)
        )
        self.push = torch.nn.Linear(width, n_outputs)
        last = [self.push]
        if n_scalars:
            self.rate = torch.nn.Linear(width, n_scalars)
            last.append(self.rate)
        if n_given:
            self.mixed = torch.nn.Linear(n_given, n_vectors, bias=False)
            self.of_lengths = torch.nn.Linear(n_given, width)
            self.share = torch.nn.Linear(width, n_outputs * n_given)
            last.append(self.share)
        for layer in last:
            torch.nn.init.zeros_(layer.weight)  # a new network gives zero
            torch.nn.init.zeros_(layer.bias)

    def forward(self, x, t, *given):
        """x (n, n_particles, n_dimensions), t (n,), vectors like x → like x, or (n_outputs, *x.shape).

        With scalars also these, (n_scalars, n, n_particles, 1).

        Raises:
            ValueError: other than `n_given` vectors.
        """
        if len(given) != self.n_given:
            raise ValueError(f"{len(given)} vectors are given beside x; the network takes {self.n_given}")
        time = self.embedding(t)
        with torch.autocast(x.device.type, enabled=False):  # half a digit of a coordinate is too few
            direction, bumps = self._geometry(x.to(time.dtype).transpose(0, 1))
        e = self.radial(bumps)
        h = self.of_time(time).unsqueeze(0)
        v = None
        if self.n_given:
            given = torch.stack(given, -1).to(time.dtype).transpose(0, 1)
            v, h = self.mixed(given), h + self.of_lengths(given.square().sum(2).log1p())
        for layer in self.layers:
            e, h, v = layer(e, h, v, direction, time, self)
        push = self.push(e)
        with torch.autocast(x.device.type, enabled=False):
            if self.n_outputs == 1:
                out = _over(self.difference.T, push.to(time.dtype) * direction)
            else:
                out = _over(self.difference.T, push.to(time.dtype).unsqueeze(2) * direction.unsqueeze(-1))
        if self.n_given:
            share = self.share(silu(h)).unflatten(-1, (self.n_outputs, -1))
            more = (given.unsqueeze(3) * share.unsqueeze(2)).sum(-1)
            out = out + (more.squeeze(3) if self.n_outputs == 1 else more)
        out = out.transpose(0, 1).to(x.dtype)
        out = out if self.n_outputs == 1 else out.movedim(-1, 0)
        if not self.n_scalars:
            return out
        rate = self.rate(_over(self.total.T, e) / (self.n_particles - 1)).transpose(0, 1).to(x.dtype)
        return out, rate.movedim(-1, 0).unsqueeze(-1)

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
