"""Noise schedules: how much of the signal and of noise a configuration at time t holds."""

import math

import torch

__all__ = ["NoiseSchedule"]

_KINDS = ("VE", "VP")
_SHAPES = ("geometric", "linear", "cosine")


class NoiseSchedule:
    r"""x_t = α(t) x + σ(t) ε for t from 0 to 1, with the noise-to-signal ratio s = σ/α rising from s_min to s_max.

    The stochastic process with these marginals is :math:`dx = f(t)\,x\,dt + g(t)\,dw`, with

    .. math:: f = \frac{d \ln \alpha}{dt}, \qquad g^2 = \frac{d\sigma^2}{dt} - 2 f \sigma^2 = 2 \alpha^2 s\,s'.

    Arguments:
        s_min, s_max: s at t = 0 and t = 1, positive and rising, in the units of x.
        kind: ``"VE"`` (variance exploding): α = 1; ``"VP"`` (variance preserving): α² + σ² = 1, for x of unit width.
        shape: how s rises: ``"geometric"``: ln s in proportion to t; ``"linear"``: s; ``"cosine"``: arctan s, which for
            VP makes α a cosine.

    Raises:
        ValueError: ratios that are not positive and rising, an unknown kind or shape.

    References:
        Song et al., Score-based generative modeling through stochastic differential equations, ICLR 2021;
        Nichol & Dhariwal, Improved denoising diffusion probabilistic models, ICML 2021 (cosine).

    Example:
        >>> schedule = NoiseSchedule(0.01, 100.0)
        >>> schedule.sigma(torch.tensor(0.5)), schedule.alpha(torch.tensor(0.5))
        (tensor(1.), tensor(1.))
    """

    def __init__(self, s_min, s_max, *, kind="VE", shape="geometric"):
        if not 0 < s_min < s_max < math.inf:
            raise ValueError(f"s_min is {s_min} and s_max {s_max}; they must be positive, finite and rising")
        for name, value, known in (("kind", kind, _KINDS), ("shape", shape, _SHAPES)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; supported are {', '.join(map(repr, known))}")
        self.s_min, self.s_max, self.kind, self.shape = float(s_min), float(s_max), kind, shape

    def ratio(self, t):
        """s(t) = σ/α, like t."""
        if self.shape == "geometric":
            return self.s_min * (self.s_max / self.s_min) ** t
        if self.shape == "linear":
            return self.s_min + (self.s_max - self.s_min) * t
        low, high = math.atan(self.s_min), math.atan(self.s_max)
        return torch.tan(low + (high - low) * t)

    def ratio_rate(self, t):
        """ds/dt, like t."""
        if self.shape == "geometric":
            return self.ratio(t) * math.log(self.s_max / self.s_min)
        if self.shape == "linear":
            return torch.full_like(t, self.s_max - self.s_min)
        return (math.atan(self.s_max) - math.atan(self.s_min)) * (1 + self.ratio(t) ** 2)

    def time(self, s):
        """The t at which σ/α is s, like s."""
        if self.shape == "geometric":
            return (s / self.s_min).log() / math.log(self.s_max / self.s_min)
        if self.shape == "linear":
            return (s - self.s_min) / (self.s_max - self.s_min)
        low, high = math.atan(self.s_min), math.atan(self.s_max)
        return (torch.atan(s) - low) / (high - low)

    def alpha(self, t):
        """α(t), like t."""
        return torch.ones_like(t) if self.kind == "VE" else (1 + self.ratio(t) ** 2).rsqrt()

    def sigma(self, t):
        """σ(t), like t."""
        return self.alpha(t) * self.ratio(t)

    def drift(self, t):
        """f(t) = d ln α/dt, like t."""
        if self.kind == "VE":
            return torch.zeros_like(t)
        return -self.ratio(t) * self.ratio_rate(t) / (1 + self.ratio(t) ** 2)

    def diffusion_squared(self, t):
        """g²(t), like t."""
        return 2 * self.alpha(t) ** 2 * self.ratio(t) * self.ratio_rate(t)
