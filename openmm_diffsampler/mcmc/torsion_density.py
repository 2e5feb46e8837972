"""What a block of torsions looks like on its own: a histogram learned in warm-up that guesses are drawn from."""

import base64
import math

import numpy as np
import torch

__all__ = ["TorsionDensity", "far"]

#: Bins of each torsion, by how many there are: a table of three is kept as small as one of two is fine.
_N_BINS = {1: 48, 2: 48, 3: 24}
#: Cosine of the angle (60 degrees) up to which a turn stays in a well.
_WITHIN_A_WELL = 0.5


def far(turn):
    """1 − cos Δτ of turns (in radians) that lead into another well, those of more than 60 degrees, and 0 of others."""
    cosine = turn.cos()
    return torch.where(cosine < _WITHIN_A_WELL, 1 - cosine, 0.0)


class TorsionDensity:
    r"""A piecewise constant density q over up to three torsions, from a histogram of where chains have been.

    .. math:: q = (1 - \epsilon)\,h^\gamma / \textstyle\sum h^\gamma + \epsilon\,(\text{uniform}),

    where h is the histogram, smoothed by a Gaussian kernel. The power γ < 1 raises what is rare, so that chains go
    there and come back often, and the uniform part ε keeps every conformation within reach. Later states count more
    than early ones, when chains were still where they started.

    Arguments:
        n_torsions: 1, 2 or 3.
        n_bins: of each torsion; by default 48, and 24 of each of three.
        smoothing: width of the kernel, in bins.
        power, uniform: γ and ε.

    Example:
        >>> density = TorsionDensity(1)
        >>> density.update(torch.full((1000, 1), 1.0))
        >>> generator = torch.Generator().manual_seed(0)
        >>> angles = density.sample(500, generator)
        >>> bool(((angles - 1).abs() < 0.7).float().mean() > 0.8), density.log_density(angles).shape
        (True, torch.Size([500]))
    """

    def __init__(self, n_torsions, n_bins=None, smoothing=1.0, power=0.8, uniform=0.05):
        n_bins = n_bins or _N_BINS[n_torsions]
        self.shape = (n_bins,) * n_torsions
        self.n_bins, self.power, self.uniform = n_bins, power, uniform
        offset = torch.arange(n_bins)
        kernel = torch.exp(-0.5 * (torch.minimum(offset, n_bins - offset) / smoothing) ** 2).double()
        self._kernel = torch.fft.fft(kernel / kernel.sum())
        self.restart()

    def restart(self):
        """Back to the uniform density."""
        self.counts, self.n_updates = torch.zeros(self.shape, dtype=torch.float64), 0
        self._is_stale = True

    def freeze(self):
        """Nothing is left to settle: the density only changes when it is updated."""

    def _refresh(self):
        """Bring the table of bin probabilities up to date, which is left until somebody asks for it."""
        if not self._is_stale:
            return
        self._is_stale = False
        flat = torch.full(self.shape, 1.0 / self.counts.numel(), dtype=torch.float64)
        if self.n_updates:
            smooth = torch.fft.fftn(self.counts)
            for axis in range(smooth.ndim):
                smooth = smooth * self._kernel.reshape(-1, *(1 for _ in range(smooth.ndim - 1 - axis)))
            raised = torch.fft.ifftn(smooth).real.clamp(min=0) ** self.power
            flat = (1 - self.uniform) * raised / raised.sum() + self.uniform * flat
        probability = flat.flatten()
        self._log_density = probability.log() + len(self.shape) * math.log(self.n_bins / (2 * math.pi))
        self._cumulated = probability.cumsum(0)

    def _bins(self, angles):
        index = (angles * (self.n_bins / (2 * math.pi))).floor().long() % self.n_bins
        flat = index[:, 0]
        for k in range(1, index.shape[1]):
            flat = flat * self.n_bins + index[:, k]
        return flat

    def update(self, angles):
        """Learn from the torsions (n, n_torsions) of chains, in radians, wrapped or not."""
        self.n_updates += 1
        here = torch.bincount(self._bins(angles.detach().cpu()), minlength=self.counts.numel()).reshape(self.shape)
        self.counts = self.counts * (self.n_updates / (self.n_updates + 2)) + here
        self._is_stale = True

    def sample(self, n, generator):
        """(n, n_torsions) draws in [0, 2π)."""
        self._refresh()
        options = {"generator": generator, "dtype": torch.float64, "device": generator.device}
        spot = torch.rand(n, **options).to(self._cumulated) * self._cumulated[-1]
        drawn = torch.searchsorted(self._cumulated, spot, right=True).clamp(max=len(self._cumulated) - 1)
        index = torch.stack(torch.unravel_index(drawn, self.shape), 1)
        within = torch.rand(n, len(self.shape), **options).to(self._cumulated)
        return (index + within) * (2 * math.pi / self.n_bins)

    def log_density(self, angles):
        """log q (n,) of torsions (n, n_torsions)."""
        self._refresh()
        return self._log_density[self._bins(angles.detach().cpu())]

    def ideal_jump(self, order=1):
        """Mean :func:`far` jump of `order` times the first torsion between independent draws, as the counts have it.

        1 before any counts.
        """
        if not self.n_updates:
            return 1.0
        along = self.counts.reshape(self.n_bins, -1).sum(1)
        spectrum = torch.fft.rfft(along / along.sum())
        shares = torch.fft.irfft(spectrum.abs().square(), self.n_bins)  # of each difference between two draws
        return float((shares * far(order * torch.arange(self.n_bins) * (2 * math.pi / self.n_bins))).sum())

    def state_dict(self):
        packed = base64.b64encode(self.counts.numpy().tobytes()).decode()
        return {"counts": packed, "n_updates": self.n_updates}

    def load_state_dict(self, state):
        counts = np.frombuffer(base64.b64decode(state["counts"])).reshape(self.shape)
        self.counts = torch.from_numpy(counts.copy())
        self.n_updates = state["n_updates"]
        self._is_stale = True
