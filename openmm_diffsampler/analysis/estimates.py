"""Expectation values with standard errors, for frames that are weighted, repeated or correlated."""

from typing import NamedTuple

import numpy as np
import torch

from .diagnostics import chains_as_array, effective_sample_size

__all__ = ["KINDS", "Estimate", "describe", "expectation", "has_weights", "log_partition_function", "variance_weights"]


#: What a weighted trajectory can hold, and how it is called in words.
KINDS = {
    "mcmc": "equal weights (MCMC)",
    "importance": "importance weights",
    "resampled": "equal weights (resampled)",
}


class Estimate(NamedTuple):
    """An expectation value and its standard error: floats for a scalar observable, arrays for a vector."""

    value: float | np.ndarray
    standard_error: float | np.ndarray


def variance_weights(wt):
    r"""The v_i of the variance Σ v_i (f(x_i) − ⟨f⟩)² of a weighted mean; 1/Σ v_i is Kish's effective sample size.

    Importance samples: v = ŵ² with normalised weights ŵ. Resampled frames: copies of one source frame are a single draw
    of weight m/n, so v = m/n² for each of its m copies, and all v are scaled up where Σ v would otherwise claim more
    independent draws than the source had.

    Arguments:
        wt: a WeightedTrajectory of kind "importance" or "resampled".

    Returns:
        (n_frames,) float64 array.
    """
    if wt.kind == "importance":
        return wt.weights.numpy() ** 2
    source = np.stack([wt.chain.numpy(), wt.draw.numpy()])
    _, which, copies = np.unique(source, axis=1, return_inverse=True, return_counts=True)
    v = copies[which.ravel()] / len(wt) ** 2
    return v * max(1.0, 1 / (wt.source_effective_sample_size * v.sum()))


def expectation(wt, f):
    r"""Weighted mean μ = Σ ŵ_i f_i of an observable, with its standard error.

    The standard error is √(Σ v_i (f_i − μ)²) with :func:`variance_weights` for importance samples and resampled frames,
    and sd(f)/√ESS(f) with the autocorrelation ESS of that very f for MCMC. It is NaN for a single frame, and zero for
    an f that is the same in all frames; for states that were never visited see
    :func:`~openmm_diffsampler.analysis.population`.

    Arguments:
        wt: a WeightedTrajectory.
        f: a function of ``wt.x``, or an array of values; one value or one array of values a frame.

    Returns:
        Estimate of floats for one value a frame, else of arrays.

    Raises:
        ValueError: not one entry a frame, or NaN or infinite values in a frame of positive weight. Frames of weight
            zero do not count, and f may be anything there.
    """
    values = f(wt.x) if callable(f) else f
    values = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if values.ndim == 0 or len(values) != len(wt):
        raise ValueError(f"f has shape {values.shape}; give one entry for each of the {len(wt)} frames")
    weights = wt.weights.numpy()
    flat = values.reshape(len(wt), -1).astype(np.float64)
    bad = ~np.isfinite(flat).all(1) & (weights > 0)
    if bad.any():
        raise ValueError(f"f is NaN or infinite in {bad.sum()} of {len(wt)} frames, the first is frame {bad.argmax()}")
    flat = np.where(weights[:, None] > 0, flat, 0.0)
    mean = weights @ flat
    if len(wt) == 1:
        error = np.full(mean.shape, np.nan)
    elif wt.kind == "mcmc":
        chains = (chains_as_array(column, wt.chain, wt.draw) for column in flat.T)
        error = flat.std(0, ddof=1) / np.sqrt([effective_sample_size(chain) for chain in chains])
    else:
        error = np.sqrt(variance_weights(wt) @ (flat - mean) ** 2)
    if values.ndim == 1:
        return Estimate(float(mean[0]), float(error[0]))
    return Estimate(mean.reshape(values.shape[1:]), error.reshape(values.shape[1:]))


def log_partition_function(wt):
    r"""Estimate of log Z = log (1/n) Σ w_i with its standard error √(var(w)/n)/mean(w) (delta method).

    Raises:
        TypeError: the frames are no importance samples.
    """
    if wt.kind != "importance":
        reason = "chains do not estimate Z" if wt.kind == "mcmc" else "resampling has used the weights up"
        raise TypeError(f"{reason}; log Z needs importance weights")
    n = len(wt)
    scaled = (wt.log_weights - wt.log_weights.max()).exp().numpy()
    value = float(wt.log_weights.max()) + np.log(scaled.mean())
    error = scaled.std(ddof=1) / scaled.mean() / np.sqrt(n) if n > 1 else np.nan
    return Estimate(float(value), float(error))


def has_weights(wt):
    """Whether these are importance samples with weights that differ; equal ones stand for none, and for no log Z."""
    return wt.kind == "importance" and wt.log_weights.unique().numel() > 1


def describe(wt):
    """One line: how many frames of what kind, and how many independent ones they are worth."""
    ess, n = wt.effective_sample_size, len(wt)
    if wt.kind == "importance" and n > 1 and not has_weights(wt):
        return f"{n} independent frames without weights: how far they are from equilibrium is not known"
    if wt.kind != "mcmc":
        return f"{n} frames, {KINDS[wt.kind]}; effective sample size {ess:.0f} of {n} ({ess / n:.3f})"
    n_chains = len(wt.chain.unique())
    names = list(dict.fromkeys(name.removeprefix("cos ").removeprefix("sin ") for name in wt.ess_by_observable))
    of = ", ".join(names) if len(names) <= 4 else f"{len(names)} observables"
    return (
        f"{n} frames from {n_chains} chain{'s' if n_chains > 1 else ''}, {KINDS['mcmc']}; effective sample size "
        f"{ess:.0f} by autocorrelation ({'smallest of ' if len(names) > 1 else ''}{of})"
    )
