"""Populations of states with standard errors and intervals, and what can be said of a state that no frame is in."""

import numpy as np

from .estimates import Estimate
from .intervals import population_interval

__all__ = ["Population", "population", "population_in_words", "population_row", "population_text", "unvisited_bound"]

#: A population of less standard errors has an interval that is not symmetric.
_SYMMETRIC = 4.0


class Population(Estimate):
    """A population and its standard error, with the 95 % confidence interval besides.

    Arguments:
        value, standard_error: as of an Estimate.
        interval: (low, high).

    Example:
        >>> value, standard_error = estimate = Population(0.003, 0.001, (0.0014, 0.0062))
        >>> estimate.interval
        (0.0014, 0.0062)
    """

    def __new__(cls, value, standard_error, interval):
        made = super().__new__(cls, value, standard_error)
        made.interval = interval
        return made

    def __getnewargs__(self):
        return *self, self.interval


def population(wt, inside):
    r"""Share p of the weight that lies in a state, with its standard error.

    For MCMC the standard error is √(p(1 − p)/ESS) with the autocorrelation ESS of the indicator itself, so that a rare
    state that was visited once and for long has an error of about its own population.

    Where all frames agree that they are outside (or inside), the spread of the indicator is zero and says nothing; the
    standard error is NaN, and :func:`unvisited_bound` tells how populated the other side may be.

    Value and error make no interval for a rare state: of one that is expected three times, ± 1.96 standard errors cover
    0.81. :attr:`Population.interval` is :func:`~openmm_diffsampler.analysis.population_interval`, which covers 0.95
    from three expected frames up.

    Arguments:
        wt: a WeightedTrajectory.
        inside: (n_frames,) booleans.

    Returns:
        :class:`Population`, with standard error NaN for a state that no frame of positive weight is in, or all are.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> wt = WeightedTrajectory(torch.zeros(100, 1), torch.zeros(100), kind="importance")
        >>> value, error = population(wt, torch.arange(100) < 20)
        >>> f"{value:.2f} ± {error:.2f}"
        '0.20 ± 0.04'
        >>> population(wt, torch.arange(100) < 0)
        Population(value=0.0, standard_error=nan)
    """
    inside = np.asarray(inside, dtype=bool)
    seen = inside[wt.weights.numpy() > 0]
    if seen.all() or not seen.any():
        return Population(float(seen.all()), np.nan, population_interval(wt, inside))
    return Population(*wt.expectation(inside.astype(np.float64)), population_interval(wt, inside))


def unvisited_bound(wt):
    r"""Population that a state without a frame stays below with 95 % confidence, 3/ESS (the rule of three).

    Of N independent draws none falls in a state of population p with probability (1 − p)^N, which is 5 % at p ≈ 3/N.
    N is the effective sample size of the trajectory. The bound presumes that the chains can reach the state as they
    reach the others: no number of frames tells of a state behind a barrier that no chain crosses.

    Arguments:
        wt: a WeightedTrajectory.

    Returns:
        float, at most one.

    References:
        Hanley and Lippman-Hand, If nothing goes wrong, is everything all right?, JAMA 249 (1983).

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> round(unvisited_bound(WeightedTrajectory(torch.zeros(300, 1), torch.zeros(300), kind="importance")), 6)
        0.01
    """
    return float(min(1.0, 3 / wt.effective_sample_size))


def population_text(value, standard_error, bound, interval=None):
    """A population in words: value ± standard error, or what to say where no frame, or every frame, is in the state.

    Where it is less than four standard errors from 0 or 1, the interval takes the place of the error.

    Arguments:
        value, standard_error: as of :func:`population`; the error may be None or NaN.
        bound: that of :func:`unvisited_bound`.
        interval: (low, high), or None for one that is not known.

    Example:
        >>> population_text(0.34512, 0.00213, 2e-4), population_text(0.0005, 0.00012, 2e-4)
        ('0.345 ± 0.002', '0.0005 ± 0.0001')
        >>> population_text(0.0003, 0.00012, 2e-4, (0.00012, 0.00066))
        '0.0003 (0.0001 to 0.0007)'
        >>> population_text(0.0, None, 5.1e-5), population_text(1.0, float("nan"), 5.1e-5)
        ('not visited (< 0.000051)', '1 (no other visited)')
    """
    if standard_error is not None and np.isfinite(standard_error):
        digits = max(3, _first_figure(standard_error))
        if interval is not None and min(value, 1 - value) < _SYMMETRIC * standard_error:
            low, high = interval
            return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
        return f"{value:.{digits}f} ± {standard_error:.{digits}f}"
    if value == 0:
        return f"not visited (< {bound:.{_first_figure(bound) + 1}f})"
    return "1 (no other visited)" if value == 1 else f"{value:.3f}"


def population_row(estimate, bound):
    """Entries of ``diagnostics.json`` for a :class:`Population`, with the bound of :func:`unvisited_bound`."""
    row = {"population": estimate.value, "standard error": None, "95 % interval": list(estimate.interval)}
    if np.isfinite(estimate.standard_error):
        row["standard error"] = estimate.standard_error
    elif estimate.value == 0:
        row["upper bound (95 %)"] = bound
    return row


def population_in_words(row):
    """:func:`population_text` of a row of ``diagnostics.json``, which may have no bound and no interval."""
    bound, interval = row.get("upper bound (95 %)"), row.get("95 % interval")
    return population_text(row["population"], row["standard error"], bound, interval)


def _first_figure(x):
    """How many decimals show the first figure of a number below one."""
    return int(np.clip(np.ceil(-np.log10(max(x, 1e-12))), 1, 8))
