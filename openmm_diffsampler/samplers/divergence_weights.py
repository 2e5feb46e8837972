"""How much the divergence at each level of noise counts in DiKL."""

import torch

__all__ = ["DivergenceWeights"]

#: Bins of t whose differences of scores are measured apart, and how much of the running median a step replaces.
_N_BINS, _MEMORY = 16, 0.01


class DivergenceWeights:
    """w(s) of the sum of divergences over ln s, by the name in :class:`~openmm_diffsampler.samplers.DiKLSettings`.

    ``"even"`` learns the size that differences of scores have at each level, and divides by it: what is mostly noise,
    where the posterior is wide, then counts no more than what is not.

    Arguments:
        kind: the name.
        scale: width that counts as one.

    Example:
        >>> weights = DivergenceWeights("signal", scale=2.0)
        >>> weights(torch.ones(1, 3), torch.tensor([4.0]), torch.tensor([0.5])).tolist()
        [[2.0, 2.0, 2.0]]
    """

    def __init__(self, kind, scale):
        self.kind, self.scale = kind, scale
        self.sizes = torch.zeros(_N_BINS, dtype=torch.float64)

    def __call__(self, difference, s, share):
        """w times differences of scores (n, *event_shape) at noise s (n,), `share` (n,) of the way up the levels."""
        ratio = s / self.scale
        if self.kind == "even":
            by_row = 1 / self._sizes(difference, share)
        else:
            by_row = {
                "published": (1 + ratio**2).sqrt(),
                "uniform": torch.ones_like(ratio),
                "signal": ratio,
                "variance": ratio**2,
            }[self.kind]
        return by_row.reshape(-1, *(1 for _ in difference.shape[1:])) * difference

    def _sizes(self, difference, share):
        """Root of the running median square at the level of each row."""
        square = difference.flatten(1).square().mean(1).double().cpu()
        bins = (share.cpu() * _N_BINS).long().clamp(0, _N_BINS - 1)
        for k in range(_N_BINS):
            found = square[(bins == k) & square.isfinite()]
            if len(found):  # the median: a single clash would count for thousands of steps
                keep = 1 - _MEMORY if self.sizes[k] > 0 else 0.0
                self.sizes[k] = keep * self.sizes[k] + (1 - keep) * found.median()
        known = torch.nonzero(self.sizes > 0)[:, 0]
        if not len(known):
            return torch.ones_like(share)
        nearest = known[(bins[:, None] - known).abs().argmin(1)]
        return self.sizes[nearest].sqrt().to(share)
