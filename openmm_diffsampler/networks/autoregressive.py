"""A density with exact samples and log-density: one coordinate after the other, each given those before it."""

import math

import torch
from torch.nn import functional

__all__ = ["AutoregressiveDensity"]

_TURN = 2 * math.pi
_LOG_ROOT_TURN = 0.5 * math.log(_TURN)
#: Bounds of the log-widths of components on a circle, in radians: narrower than any torsion, wider than a turn.
_CIRCULAR_LOG_WIDTHS = (-4.0, 1.0)
#: Bounds of the log-widths of real components, and what perceptrons take any larger number for: one stray sample shall
#: not lead those after it to infinity.
_REAL_LOG_WIDTHS, _FARTHEST_SEEN = (-12.0, 3.0), 30.0
#: Samples that the linear regression is made on, at most.
_N_REGRESSED = 200_000


class AutoregressiveDensity(torch.nn.Module):
    r"""log q(x) = Σ_k log q_k(x_k | x_1, …, x_{k−1}), on circles and the real line.

    q_k is a mixture, of wrapped normals for an angle and of normals for a real number. Its parameters come from a
    multilayer perceptron of its own, which sees the coordinates before it: angles as sines and cosines of their first
    multiples, so that q is periodic. The mean of a real coordinate has a linear part besides, which
    :meth:`start_from` finds by least squares: what is nearly Gaussian is described before any training.

    The density of a batch takes one pass through all perceptrons side by side, and so does a sample, coordinate by
    coordinate.

    Arguments:
        n_circular: angles, the first columns of x, in radians; any real number means the angle it is modulo a turn.
        n_real: columns after them, of mean zero and width one or so.
        width, n_layers: of the hidden layers of each perceptron; the layers after the first are residual.
        n_components, n_circular_components: of the mixtures.
        n_waves: multiples of each angle.
        n_real_waves: pairs of sine and cosine of each real number that perceptrons see beside it, with wavelengths from
            4 down in powers of two; for densities with many narrow modes.

    References:
        Papamakarios, Pavlakou & Murray, Masked autoregressive flow for density estimation, NeurIPS 2017;
        Bishop, Mixture density networks, 1994.

    Example:
        >>> density = AutoregressiveDensity(1, 2, width=8)
        >>> x, log_q = density.sample(5, torch.Generator().manual_seed(0))
        >>> x.shape, bool((density(x) - log_q).abs().max() < 1e-4)
        (torch.Size([5, 3]), True)
    """

    def __init__(
        self,
        n_circular,
        n_real,
        *,
        width=64,
        n_layers=2,
        n_components=4,
        n_circular_components=16,
        n_waves=4,
        n_real_waves=0,
    ):
        super().__init__()
        if n_layers < 1 or n_circular + n_real < 1:
            raise ValueError(
                f"there are {n_circular + n_real} columns and {n_layers} layers; give at least one of each"
            )
        self.n_circular, self.n_real, self.width = n_circular, n_real, width
        d = n_circular + n_real
        self.register_buffer("multiples", torch.arange(1.0, n_waves + 1), persistent=False)
        waves = 2 * math.pi * 2.0 ** (torch.arange(float(n_real_waves)) - 2)
        self.register_buffer("waves", waves, persistent=False)
        self.sizes = [2 * n_waves] * n_circular + [1 + 2 * n_real_waves] * n_real
        #: How many features each coordinate sees: those of the coordinates before it.
        self.n_seen = [0, *torch.tensor(self.sizes).cumsum(0)[:-1].tolist()]
        n_features = sum(self.sizes)
        seen = torch.arange(n_features) < torch.tensor(self.n_seen)[:, None]
        self.register_buffer("seen", seen, persistent=False)
        spread = torch.tensor(self.n_seen).clamp(min=1).rsqrt()[seen.nonzero()[:, 0], None]
        #: The rows that are seen, of all coordinates one after the other.
        self.first = torch.nn.Parameter(torch.randn(len(spread), width) * spread)
        self.first_bias = torch.nn.Parameter(0.5 * torch.randn(d, width))
        self.hidden = torch.nn.Parameter(torch.randn(n_layers - 1, d, width, width) / width**0.5)
        self.hidden_bias = torch.nn.Parameter(torch.zeros(n_layers - 1, d, width))
        self.circular_last = torch.nn.Parameter(torch.zeros(n_circular, width, 3 * n_circular_components))
        self.circular_bias = torch.nn.Parameter(_even_circle(n_circular_components).repeat(n_circular, 1))
        self.real_last = torch.nn.Parameter(torch.zeros(n_real, width, 2 + 3 * n_components))
        self.real_bias = torch.nn.Parameter(_narrow_mixture(n_components).repeat(n_real, 1))
        self.linear = torch.nn.Parameter(torch.zeros(n_real, n_features))

    # What perceptrons see, and what they say.

    def _features(self, x):
        """(n, d) → (n, n_features)."""
        return torch.cat([self._features_of(x[:, k], k) for k in range(len(self.sizes))], 1)

    def _features_of(self, values, k):
        """(n,) of column k → (n, sizes[k])."""
        if k < self.n_circular:
            angle = values[:, None] * self.multiples
            return torch.cat([angle.cos(), angle.sin()], 1)
        values = values.clamp(-_FARTHEST_SEEN, _FARTHEST_SEEN)
        angle = values[:, None] * self.waves
        return torch.cat([values[:, None], angle.sin(), angle.cos()], 1)

    def _outputs(self, features):
        """Raw parameters of all coordinates: (n_circular, n, …) and (n_real, n, …)."""
        # Products in the precision of autocast, activations too: they are most of the memory traffic.
        kind = features.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.first.dtype
        with torch.autocast(kind, enabled=False):
            d, n = len(self.sizes), len(features)
            weights = self.first.new_zeros(*self.seen.shape, self.width)
            weights = weights.masked_scatter(self.seen[:, :, None], self.first).to(low)
            weights = weights.permute(1, 0, 2).reshape(-1, d * self.width)
            h = (features.to(low) @ weights).reshape(n, d, self.width).transpose(0, 1).contiguous()
            h = functional.silu(h + self.first_bias[:, None].to(low))
            for weight, bias in zip(self.hidden, self.hidden_bias, strict=True):
                h = h + functional.silu(torch.baddbmm(bias[:, None].to(low), h, weight.to(low)))
            at = self.n_circular
            circular = torch.bmm(h[:at], self.circular_last.to(low)).float() + self.circular_bias[:, None]
            real = torch.bmm(h[at:], self.real_last.to(low)).float() + self.real_bias[:, None]
            line = (features @ (self.linear * self.seen[at:]).T).T
        return circular, torch.cat([real[..., :1] + line[..., None], real[..., 1:]], -1)

    def _output_of(self, features, k):
        """Raw parameters (n, …) of column k alone, in full precision."""
        n_seen, start = self.n_seen[k], sum(self.n_seen[:k])
        features = features[:, :n_seen]
        h = functional.silu(features @ self.first[start : start + n_seen] + self.first_bias[k])
        for weight, bias in zip(self.hidden[:, k], self.hidden_bias[:, k], strict=True):
            h = h + functional.silu(h @ weight + bias)
        if k < self.n_circular:
            return h @ self.circular_last[k] + self.circular_bias[k]
        k -= self.n_circular
        raw = h @ self.real_last[k] + self.real_bias[k]
        line = features @ self.linear[k, :n_seen]
        return torch.cat([raw[:, :1] + line[:, None], raw[:, 1:]], 1)

    # The density.

    def forward(self, x):
        """log q: (n, d) → (n,)."""
        circular, real = self._outputs(self._features(x))
        at = self.n_circular
        of_angles = _log_wrapped(x[:, :at].T, *_circular_mixture(circular))
        of_reals = _log_normal(x[:, at:].T, *_real_mixture(real))
        return torch.cat([of_angles, of_reals]).sum(0)

    @torch.no_grad()
    def sample(self, n, generator):
        """n draws, angles in [−π, π], and their log-densities: (n, d), (n,)."""
        features = torch.zeros(n, self.seen.shape[1], dtype=self.first.dtype, device=self.first.device)
        columns, log_q, at = [], torch.zeros(n, dtype=torch.float64, device=features.device), 0
        for k, size in enumerate(self.sizes):
            raw = self._output_of(features, k)
            is_angle = k < self.n_circular
            mixture = _circular_mixture(raw) if is_angle else _real_mixture(raw)
            log_share, mean, log_width = mixture
            chosen = torch.multinomial(log_share.exp(), 1, generator=generator)
            noise = torch.randn(n, 1, generator=generator, dtype=raw.dtype, device=raw.device)
            value = (mean.gather(1, chosen) + log_width.gather(1, chosen).exp() * noise)[:, 0]
            value = value - _TURN * torch.round(value / _TURN) if is_angle else value
            log_q += (_log_wrapped if is_angle else _log_normal)(value, *mixture)
            features[:, at : at + size] = self._features_of(value, k)
            at += size
            columns.append(value)
        return torch.stack(columns, 1), log_q

    @torch.no_grad()
    def start_from(self, x):
        """Give every real coordinate the mean that least squares finds from those before it, and the width left."""
        features = self._features(x[:: -(-len(x) // _N_REGRESSED)]).double()
        features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
        wanted = x[:: -(-len(x) // _N_REGRESSED), self.n_circular :].double()
        gram, moments, n = features.T @ features, features.T @ wanted, len(features)
        always = torch.ones(1, dtype=torch.bool, device=x.device)
        for k in range(self.n_real):
            seen = torch.cat([self.seen[self.n_circular + k], always])
            inside = gram[seen][:, seen]
            inside = inside + 1e-6 * n * torch.eye(len(inside), dtype=inside.dtype, device=x.device)
            solution = torch.linalg.solve(inside, moments[seen, k])
            left = wanted[:, k].square().mean() - (solution @ moments[seen, k]) / n
            left = left / max(1 - len(inside) / n, 0.1)  # degrees of freedom that the fit has used up
            self.linear[k, seen[:-1]] = solution[:-1].float()
            self.real_bias[k, 0] = solution[-1]
            self.real_bias[k, 1] = 0.5 * left.clamp(min=1e-12).log()


def _even_circle(n):
    """Components that cover the circle: log-shares, means, log-widths."""
    means = (torch.arange(n) + 0.5) / n * _TURN - math.pi
    return torch.cat([torch.zeros(n), means, torch.full((n,), math.log(_TURN / n))])


def _narrow_mixture(n):
    """Nearly one normal: mean, log-width, then log-shares, offsets, log-widths relative to those."""
    return torch.cat([torch.zeros(2 + n), torch.linspace(-0.5, 0.5, n) if n > 1 else torch.zeros(1), torch.zeros(n)])


def _circular_mixture(raw):
    log_share, mean, log_width = raw.unflatten(-1, (3, -1)).unbind(-2)
    return log_share.log_softmax(-1), mean, log_width.clamp(*_CIRCULAR_LOG_WIDTHS)


def _real_mixture(raw):
    mean, log_width = raw[..., :1], raw[..., 1:2]
    log_share, offset, log_ratio = raw[..., 2:].unflatten(-1, (3, -1)).unbind(-2)
    log_width = log_width.clamp(*_REAL_LOG_WIDTHS)
    return (
        log_share.log_softmax(-1),
        mean + log_width.exp() * offset,
        (log_width + log_ratio).clamp(*_REAL_LOG_WIDTHS),
    )


def _log_normal(x, log_share, mean, log_width):
    """log of a mixture of normals, its components last."""
    square = ((x[..., None] - mean) * (-log_width).exp()).square()
    return torch.logsumexp(log_share - log_width - _LOG_ROOT_TURN - 0.5 * square, -1)


def _log_wrapped(x, log_share, mean, log_width):
    """The same on a circle: five images, of which those left out are 2.5 turns away and more."""
    arm = x[..., None] - mean
    arm = arm - _TURN * torch.round(arm / _TURN)
    images = torch.stack([arm + k * _TURN for k in (-2, -1, 0, 1, 2)], -1)
    images = -0.5 * (images * (-log_width).exp()[..., None]).square()
    return torch.logsumexp(log_share - log_width - _LOG_ROOT_TURN + torch.logsumexp(images, -1), -1)
