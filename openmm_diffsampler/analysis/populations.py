"""Populations of states with standard errors, and what can be said of a state that no frame is in."""

import numpy as np

from .estimates import Estimate

__all__ = ["population", "population_text", "unvisited_bound"]


def population(wt, inside):
    r"""Share p of the weight that lies in a state, with its standard error.

    For MCMC the standard error is √(p(1 − p)/ESS) with the autocorrelation ESS of the indicator itself, so that a rare
    state that was visited once and for long has an error of about its own population.

    Where all frames agree that they are outside (or inside), the spread of the indicator is zero and says nothing; the
    standard error is NaN, and :func:`unvisited_bound` tells how populated the other side may be.

    Arguments:
        wt: a WeightedTrajectory.
        inside: (n_frames,) booleans.

    Returns:
        Estimate, with standard error NaN for a state that no frame of positive weight is in, or all are.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> wt = WeightedTrajectory(torch.zeros(100, 1), torch.zeros(100), kind="importance")
        >>> value, error = population(wt, torch.arange(100) < 20)
        >>> f"{value:.2f} ± {error:.2f}"
        '0.20 ± 0.04'
        >>> population(wt, torch.arange(100) < 0)
        Estimate(value=0.0, standard_error=nan)
    """
    inside = np.asarray(inside, dtype=bool)
    seen = inside[wt.weights.numpy() > 0]
    if seen.all() or not seen.any():
        return Estimate(float(seen.all()), np.nan)
    return wt.expectation(inside.astype(np.float64))


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


def population_text(value, standard_error, bound):
    """A population in words: value ± standard error, or what to say where no frame, or every frame, is in the state.

    Arguments:
        value, standard_error: as of :func:`population`; the error may be None or NaN.
        bound: that of :func:`unvisited_bound`.

    Example:
        >>> population_text(0.34512, 0.00213, 2e-4), population_text(0.0005, 0.00012, 2e-4)
        ('0.345 ± 0.002', '0.0005 ± 0.0001')
        >>> population_text(0.0, None, 5.1e-5), population_text(1.0, float("nan"), 5.1e-5)
        ('not visited (< 0.000051)', '1 (no other visited)')
    """
    if standard_error is not None and np.isfinite(standard_error):
        digits = max(3, _first_figure(standard_error))
        return f"{value:.{digits}f} ± {standard_error:.{digits}f}"
    if value == 0:
        return f"not visited (< {bound:.{_first_figure(bound) + 1}f})"
    return "1 (no other visited)" if value == 1 else f"{value:.3f}"


def _first_figure(x):
    """How many decimals show the first figure of a number below one."""
    return int(np.clip(np.ceil(-np.log10(max(x, 1e-12))), 1, 8))
