"""At which levels of noise a training step looks."""

import torch

__all__ = ["LevelDensity", "stratified"]

_BINS = 32
#: Share of the draws that is spread evenly, whatever the losses are.
_EVEN = 0.3
#: How much of the running mean a draw of a bin replaces.
_MEMORY = 0.002


def stratified(n, generator):
    """(n,) rising numbers in [0, 1), one at random in each n-th part."""
    options = {"dtype": torch.float64, "device": generator.device}
    return (torch.arange(n, **options) + torch.rand(n, generator=generator, **options)) / n


class LevelDensity:
    """A density of t on [0, 1]: even, or in proportion to the root mean square of the loss there.

    The latter gives the gradient of the mean loss the least variance that a choice of levels can, if gradients are
    about as large as losses. Draws come with the weights that make up for the choice, and are stratified.

    Arguments:
        adaptive: learn from losses.

    References:
        Song, Durkan, Murray & Ermon, Maximum likelihood training of score-based diffusion models, NeurIPS 2021, for
        the importance sampling of t.

    Example:
        >>> t, weights = LevelDensity(adaptive=False).draw(4, torch.Generator().manual_seed(0))
        >>> (t * 4).long().tolist(), weights.tolist()
        ([0, 1, 2, 3], [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, adaptive):
        self.adaptive = adaptive
        self.mean_square = torch.ones(_BINS, dtype=torch.float64)

    def _probabilities(self):
        root = self.mean_square.sqrt()
        return _EVEN / _BINS + (1 - _EVEN) * root / root.sum() if self.adaptive else torch.full_like(root, 1 / _BINS)

    def draw(self, n, generator):
        """t (n,) rising, and weights (n,) of mean one."""
        device = generator.device
        at = stratified(n, generator)
        p = self._probabilities().to(device)
        ends = p.cumsum(0)
        bins = torch.searchsorted(ends, at * ends[-1]).clamp(max=_BINS - 1)
        t = (bins + ((at * ends[-1] - ends[bins]) / p[bins] + 1).clamp(0, 1)) / _BINS
        return t, 1 / (_BINS * p[bins])

    def learn(self, t, losses):
        """Take up the losses (n,) at t."""
        if not self.adaptive:
            return
        bins = (t * _BINS).long().clamp(max=_BINS - 1).cpu()
        count = torch.zeros(_BINS, dtype=torch.float64).index_add_(0, bins, torch.ones(len(bins), dtype=torch.float64))
        total = torch.zeros(_BINS, dtype=torch.float64).index_add_(0, bins, losses.double().square().cpu())
        keep = (1 - _MEMORY) ** count
        self.mean_square = torch.where(
            count > 0, keep * self.mean_square + (1 - keep) * total / count.clamp(min=1), self.mean_square
        )

    def state_dict(self):
        return {"mean_square": self.mean_square}

    def load_state_dict(self, state):
        self.mean_square = state["mean_square"]
