"""Confidence intervals of populations that hold for rare states, few frames and uneven weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import beta

from .diagnostics import chains_as_array, effective_sample_size
from .estimates import variance_weights

if TYPE_CHECKING:
    from .weighted_trajectory import WeightedTrajectory

__all__ = ["effective_counts", "interval_of_counts", "population_interval"]

#: Probability that an interval leaves out, half of it on either side.
_LEFT_OUT = 0.05
#: Added to the counts at the lower and the upper end. Of a Poisson number of hits with any mean from three up, the
#: interval then covers 0.928 to 0.974; Jeffreys' (½, ½) covers 0.916 to 0.972, Clopper and Pearson's (0, 1) up to 0.99.
_LOW, _HIGH = 0.25, 0.65
#: The spread of the weights of all frames counts like that of so many hits.
_N_PRIOR = 20
#: From so many chains the scatter of their means is looked at.
_MANY_CHAINS = 8


def population_interval(wt: WeightedTrajectory, inside: np.ndarray) -> tuple[float, float]:
    """95 % confidence interval of the share of the weight that lies in a state; see :func:`effective_counts`.

    A state without a frame has (0, 1 − 0.05^(1/n)), which is the rule of three, 3/n; n is the effective sample size.

    Arguments:
        wt: a WeightedTrajectory.
        inside: (n_frames,) booleans.

    Returns:
        (low, high).

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> wt = WeightedTrajectory(torch.zeros(1000, 1), torch.zeros(1000), kind="importance")
        >>> low, high = population_interval(wt, np.arange(1000) < 4)
        >>> round(low, 4), round(high, 4)
        (0.0012, 0.0097)
    """
    weights = wt.weights.numpy()
    inside = np.asarray(inside, dtype=bool)
    seen = inside[weights > 0]
    if seen.all() or not seen.any():
        bound = 1 - _LEFT_OUT ** (1 / max(wt.effective_sample_size, 1.0))
        return (float(1 - bound), 1.0) if seen.all() else (0.0, float(bound))
    return interval_of_counts(*effective_counts(wt, inside))


def interval_of_counts(n_inside: float, n_outside: float) -> tuple[float, float]:
    r"""Interval of a probability, of which independent draws have come out so many times one way and the other.

    .. math:: \big(B_{0.025}(k + \tfrac14,\ m + \tfrac34),\ B_{0.975}(k + 0.65,\ m + 0.35)\big)

    with the quantiles B of the beta distribution: between Jeffreys' interval and that of Clopper and Pearson.

    Arguments:
        n_inside, n_outside: k and m, above zero; need not be whole.

    Example:
        >>> low, high = interval_of_counts(50, 50)
        >>> round(low, 2), round(high, 2)
        (0.4, 0.6)
    """
    low = beta.ppf(_LEFT_OUT / 2, n_inside + _LOW, n_outside + 1 - _LOW)
    high = beta.ppf(1 - _LEFT_OUT / 2, n_inside + _HIGH, n_outside + 1 - _HIGH)
    return float(low), float(high)


def effective_counts(wt: WeightedTrajectory, inside: np.ndarray) -> tuple[float, float]:
    r"""So many independent draws of equal weight inside and outside of a state say as much about it as the frames do.

    Their sum is n = p(1 − p)/Var p̂. For importance samples Var p̂ = p²(1 − p)²(1/k + 1/m), with k and m the effective
    numbers of frames inside and outside, (number of frames)/(1 + c²). Few frames do not tell the squared coefficient of
    variation c² of their weights, since heavy ones are missing; so it is taken together with that of all weights, which
    counts like that of 20 frames. For chains n is the smaller one of the autocorrelation ESS of the indicator and, from
    eight chains on, what the scatter of the chains' means amounts to, at most the number of frames.

    Arguments:
        wt: a WeightedTrajectory.
        inside: (n_frames,) booleans, not all the same.

    Returns:
        (p n, (1 − p) n).
    """
    weights = wt.weights.numpy()
    inside = np.asarray(inside, dtype=bool)
    p = float(weights[inside].sum())
    if wt.kind == "mcmc":
        n = _of_chains(chains_as_array(inside.astype(np.float64), wt.chain, wt.draw))
    elif wt.kind == "resampled":
        n = p * (1 - p) / float(variance_weights(wt) @ (inside - p) ** 2)
    else:
        positive = weights > 0
        spread = _spread(weights[positive])
        k, m = (_evenly_weighted(weights[rows & positive], spread) for rows in (inside, ~inside))
        n = 1 / (p * (1 - p) * (1 / k + 1 / m))
    return p * n, (1 - p) * n


def _of_chains(inside: np.ndarray) -> float:
    """Independent draws that an indicator (n_draws, n_chains) is worth."""
    n = min(effective_sample_size(inside), inside.size)
    scatter = inside.mean(0).var(ddof=1) if inside.shape[1] >= _MANY_CHAINS else 0.0
    return float(min(n, inside.mean() * (1 - inside.mean()) * inside.shape[1] / scatter) if scatter > 0 else n)


def _spread(weights: np.ndarray) -> float:
    """Squared coefficient of variation, without the bias of few weights."""
    n = len(weights)
    return float((weights.var() / weights.mean() ** 2) * n / (n - 1)) if n > 1 else 0.0


def _evenly_weighted(weights: np.ndarray, spread: float) -> float:
    """Draws of equal weight that these are worth, where all weights have the squared coefficient of variation."""
    n = len(weights)
    own = ((n - 1) * _spread(weights) + _N_PRIOR * spread) / (n - 1 + _N_PRIOR)
    return n / (1 + own)
