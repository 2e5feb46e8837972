"""A multilayer perceptron with a time embedding, for densities without symmetry."""

import math

import torch

from .embedding import TimeEmbedding

__all__ = ["MLP"]

#: Multiples of an angle that the first layer sees.
_N_MULTIPLES = 4


class MLP(torch.nn.Module):
    """(x, t) → a vector like x, through hidden layers with residual connections.

    The last layer starts at zero, so that a new network gives zero everywhere.

    Arguments:
        event_shape: shape of x without its first axis.
        n_outputs: vectors; with several they are stacked in front, (n_outputs, *x.shape).
        n_given: further vectors like x, real numbers all, that the network sees.
        width: of the hidden layers.
        n_layers: hidden layers.
        n_time_features: of the time embedding.
        n_waves: pairs of sine and cosine of every coordinate that the first layer sees beside it, with wavelengths from
            4 down in powers of two: what is narrow in x is then no longer hard to learn.
        periods: like x, one turn of coordinates that are angles, infinite for the others; or None. Of an angle the
            network sees sine and cosine of the first four multiples, nothing else, so that it gives functions with that
            period. They are saved with the weights.

    References:
        Tancik et al., Fourier features let networks learn high frequency functions in low dimensional domains,
        NeurIPS 2020.

    Example:
        >>> network = MLP((2,), width=16, n_layers=2)
        >>> network(torch.zeros(5, 2), torch.rand(5)).shape
        torch.Size([5, 2])
        >>> network = MLP((2,), width=16, n_layers=2, periods=torch.tensor([6.0, torch.inf]))
        >>> network(torch.tensor([[7.0, 1.0], [1.0, 1.0]]), torch.zeros(2)).diff(dim=0).abs().max() < 1e-6
        tensor(True)
    """

    def __init__(
        self, event_shape, *, width=128, n_layers=3, n_time_features=32, n_waves=0, periods=None, n_outputs=1, n_given=0
    ):
        super().__init__()
        self.n_outputs = n_outputs
        size = math.prod(event_shape)
        turns = torch.zeros(size, dtype=torch.bool) if periods is None else periods.flatten().isfinite().cpu()
        self.register_buffer("turns", turns, persistent=False)
        if turns.any():
            self.register_buffer("frequencies", 2 * math.pi / periods.flatten()[turns].float())
            self.register_buffer("multiples", torch.arange(1.0, _N_MULTIPLES + 1), persistent=False)
        n_turning = int(turns.sum())
        n_features = (size - n_turning) * (1 + 2 * n_waves) + n_turning * 2 * _N_MULTIPLES + n_given * size
        self.embedding = TimeEmbedding(n_time_features)
        self.register_buffer("waves", 2 * math.pi * 2.0 ** (torch.arange(n_waves) - 2), persistent=False)
        self.has_angles = n_turning > 0
        self.first = torch.nn.Linear(n_features, width)
        self.of_time = torch.nn.Linear(n_time_features, width)
        self.hidden = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(n_layers))
        self.last = torch.nn.Linear(width, n_outputs * size)
        torch.nn.init.zeros_(self.last.weight)
        torch.nn.init.zeros_(self.last.bias)

    def forward(self, x, t, *given):
        """x (n, *event_shape), t (n,), vectors like x → (n, *event_shape), or several of these."""
        flat = x.flatten(1).to(self.first.weight.dtype)
        time = self.of_time(self.embedding(t))
        real = flat[:, ~self.turns] if self.has_angles else flat
        angle = (real.unsqueeze(-1) * self.waves).flatten(1)
        if self.has_angles:
            turning = (flat[:, self.turns] * self.frequencies).unsqueeze(-1) * self.multiples
            angle = torch.cat([angle, turning.flatten(1)], 1)
        more = [vector.flatten(1).to(real.dtype) for vector in given]
        h = self.first(torch.cat([real, angle.sin(), angle.cos(), *more], 1)) + time
        for layer in self.hidden:
            h = h + layer(torch.nn.functional.silu(h + time))
        out = self.last(torch.nn.functional.silu(h)).to(x.dtype)
        return (
            out.reshape(x.shape)
            if self.n_outputs == 1
            else torch.stack(out.chunk(self.n_outputs, 1)).unflatten(2, x.shape[1:])
        )
