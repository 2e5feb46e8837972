"""The score of noised latents, given the configuration that was made of them."""

import math

import torch

from .equivariant import EquivariantNetwork
from .for_target import network_for

__all__ = ["LatentScore"]


class LatentScore(torch.nn.Module):
    r"""s(z_t, x, t) ≈ ∇log q(z_t | x) for z_t = z + s ε, s(t) the noise of a schedule.

    A network M guesses the latent, :math:`m(x) = x/a + M(x)`; if the latent were Gaussian around m with width c, the
    score would be the first term of

    .. math:: s = \frac{(m - z_t) + b\,F(r, x, t)}{c^2 + s^2}, \qquad r = \frac{m - z_t}{\sqrt{c^2 + s^2}}, \qquad
              b^2 = \frac{c^2 + s^2}{1 + c^2 + s^2},

    and the second network adds the rest, in the size that a wrong width (small s) or a wrong mean (large s) would give;
    it sees z_t, too. Both ends are right whatever the networks say: for s → ∞ the score is −z_t/s², that of the prior,
    and for s → 0 it stays of the order of r/c. On a circle m − z_t is a sine, damped as noise blurs it.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for its shape, symmetry and periods.
        schedule: a variance exploding :class:`~openmm_diffsampler.diffusion.NoiseSchedule`.
        scale: a, as in the decoder.
        posterior_width: c to start from; it is trainable.
        width, n_layers, n_waves, length: of both networks.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> from openmm_diffsampler.diffusion import NoiseSchedule
        >>> score = LatentScore(
        ...     DoubleWell(), NoiseSchedule(0.01, 30.0), scale=2.0, posterior_width=0.1, width=8, n_layers=1
        ... )
        >>> z = torch.randn(5, 4, 2)
        >>> score(z, 2 * z, torch.rand(5)).abs().max() < 1e-4  # m = z, F = 0
        tensor(True)
    """

    def __init__(self, target, schedule, *, scale, posterior_width, width, n_layers, n_waves=0, length=0.5):
        super().__init__()
        self.schedule, self.is_centred = schedule, target.translation_invariant
        factor, turns = torch.full(target.event_shape, float(scale)), None
        if target.periods is not None:
            turns = target.periods.isfinite().cpu()
            factor = torch.where(turns, 1.0, factor)
            wave = torch.where(turns, 2 * math.pi / target.periods.cpu(), 0.0).float()
            self.register_buffer("wave", wave, persistent=False)
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("turns", turns, persistent=False)
        size = {"width": width, "n_layers": n_layers, "n_waves": n_waves, "length": length}
        self.guess = network_for(target, **size)
        self.rest = network_for(target, **size, n_given=2)
        self.log_width = torch.nn.Parameter(torch.tensor(math.log(posterior_width)))

    def mean(self, x):
        """m(x) like x (n, *event_shape), in single precision."""
        x = x.float()
        return x / self.factor + self.guess(self._inner(x), torch.zeros(len(x), dtype=x.dtype, device=x.device))

    def _inner(self, x):
        """x as the networks take it."""
        return x if isinstance(self.guess, EquivariantNetwork) else x / self.factor

    def forward(self, z, x, t, mean=None):
        """z, x (n, *event_shape), t (n,) → like z, in single precision; m(x), if known, saves half of the cost."""
        z, x, t = z.float(), x.float(), t.float()
        s = self.schedule.ratio(t).reshape(-1, *(1 for _ in z.shape[1:]))
        square = (2 * self.log_width).exp() + s**2
        away, place = (self.mean(x) if mean is None else mean) - z, z / (1 + s**2).sqrt()
        if self.turns is not None:  # a sine, which the noise shrinks by its first Fourier coefficient
            angle, shrunk = self.wave * away, (-0.5 * (self.wave * s) ** 2).exp()
            away = torch.where(self.turns, angle.sin() / self.wave.clamp(min=1e-12) * shrunk, away)
            place = torch.where(self.turns, angle.cos(), place)
        rest = self.rest(self._inner(x), t, away / square.sqrt(), place)
        score = (away + (square / (1 + square)).sqrt() * rest) / square
        return score - score.mean(-2, keepdim=True) if self.is_centred else score
