"""The figure of importance weights: how even they are, and how many samples carry the averages."""

import numpy as np

from .plots import _BLUE, _GREY, _figure, _finish

__all__ = ["plot_weights"]


def plot_weights(wt, path=None, *, name=None):
    """Distribution of the log-weights, and the share of the total weight that the heaviest samples hold.

    Arguments:
        wt: a WeightedTrajectory of kind "importance".
        path: file to write, or None.
        name: of the system, for the title.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: frames that are no importance samples.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import WeightedTrajectory
        >>> x = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
        >>> figure = plot_weights(WeightedTrajectory(x, -x[:, 0] ** 2, kind="importance"))
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['ln (weight / mean weight)', 'heaviest samples / %']
    """
    if wt.kind != "importance":
        raise ValueError(f"the frames are of kind {wt.kind!r}; only importance samples have weights to show")
    weights = wt.weights.numpy()
    log_weights = np.log(weights[weights > 0] * len(weights))
    figure, _ = _figure(8.6, 3.4)
    figure.clear()
    left, right = figure.subplots(1, 2)
    low = np.quantile(log_weights, 0.001) - 0.5
    left.hist(log_weights, bins=60, range=(low, log_weights.max() + 0.5), color=_BLUE)
    left.set(xlabel="ln (weight / mean weight)", ylabel="samples")
    share = 100 * np.sort(weights)[::-1].cumsum()
    right.plot(100 * np.arange(1, len(share) + 1) / len(share), share, color=_BLUE, label="weights")
    right.plot([0, 100], [0, 100], color=_GREY, linestyle=":", label="equal weights")
    right.set(xlabel="heaviest samples / %", ylabel="share of the weight / %", xlim=(0, 100), ylim=(0, 101))
    right.legend(frameon=False, loc="lower right")
    size = wt.effective_sample_size
    facts = f"effective sample size {size:,.0f} of {len(wt):,} ({size / len(wt):.1%})"
    figure.suptitle(f"{name}: {facts}" if name else facts, fontsize=10)
    return _finish(figure, path)
