"""Independent double wells, with exponentially many modes and everything known exactly."""

import math

import torch

from ..base import Target

__all__ = ["ManyWell"]

#: ∫exp(x/2 + 6x² − x⁴)dx
_WELL_INTEGRAL = 11784.509265127821
_MINIMUM = math.sqrt(3)


class ManyWell(Target):
    r"""u(x) = Σ_i −½a_i − 6a_i² + a_i⁴ + ½v_i² over pairs (a_i, v_i) = (x_{2i}, x_{2i+1}).

    Each a has a deep well at +1.75 and one at −1.71 that holds .1557 of the probability; together 2^n_pairs modes.
    Z = (11784.509265… √(2π))^n_pairs. With 16 pairs this is MW-32, from Midgley et al., "Flow Annealed Importance
    Sampling Bootstrap", ICLR 2023; the well is that of Noé et al., "Boltzmann generators", Science 2019.

    Arguments:
        n_pairs: how many independent copies.
        name: how reports call the density.
        dtype, device: of the evaluation.

    Raises:
        ValueError: `n_pairs` is not a positive integer.

    Example:
        >>> target = ManyWell()
        >>> target
        ManyWell(name='mw32', event_shape=(32,), dtype=torch.float64)
        >>> round(target.log_Z, 4)
        164.6957
        >>> x = target.sample(1000, torch.Generator().manual_seed(0))
        >>> target.mode(x).shape
        torch.Size([1000, 16])
    """

    def __init__(self, n_pairs=16, *, name=None, dtype=torch.float64, device="cpu"):
        if not isinstance(n_pairs, int) or isinstance(n_pairs, bool) or n_pairs < 1:
            raise ValueError(f"n_pairs is {n_pairs!r}; give a positive integer")
        super().__init__((2 * n_pairs,), name=name or f"mw{2 * n_pairs}", dtype=dtype, device=device)
        self.n_pairs, self.preset_key = n_pairs, f"mw{2 * n_pairs}"
        self.log_Z = n_pairs * (math.log(_WELL_INTEGRAL) + 0.5 * math.log(2 * math.pi))

    def _evaluate(self, x):
        a, v = x[:, 0::2], x[:, 1::2]
        u = (a * (a * (a * a - 6) - 0.5) + 0.5 * v * v).sum(1)
        return u, torch.stack((a * (12 - 4 * a * a) + 0.5, -v), -1).flatten(1)

    def sample(self, n, generator):
        """Exact independent samples (n, 2 n_pairs), by rejection.

        Since a⁴ − 6a² + 9 = (|a| − √3)²(|a| + √3)² ≥ 3(|a| − √3)², a Gaussian of variance 1/6 on either side of zero,
        tilted by exp(a/2), bounds the density everywhere; about half of the proposals are accepted.
        """
        kwargs = {"generator": generator, "dtype": self.dtype, "device": self.device}
        wanted = n * self.n_pairs
        accepted = [torch.empty(0, dtype=self.dtype, device=self.device)]
        while (missing := wanted - sum(map(len, accepted))) > 0:
            m = 2 * missing + 64
            side = torch.where(torch.rand(m, **kwargs) < 1 / (1 + math.exp(-_MINIMUM)), 1.0, -1.0).to(self.dtype)
            a = side * _MINIMUM + 1 / 12 + torch.randn(m, **kwargs) / math.sqrt(6)
            log_ratio = -((a.abs() - _MINIMUM) ** 2) * ((a.abs() + _MINIMUM) ** 2 - 3)
            accept = (side * a > 0) & (torch.rand(m, **kwargs) < log_ratio.exp())
            accepted.append(a[accept])
        a = torch.cat(accepted)[:wanted].reshape(n, self.n_pairs)
        return torch.stack((a, torch.randn(n, self.n_pairs, **kwargs)), -1).flatten(1)

    def mode(self, x):
        """Which well each pair is in, True for the deeper one at a > 0: (n, 2 n_pairs) → (n, n_pairs) bool."""
        return self._validated(x)[:, 0::2] > 0
