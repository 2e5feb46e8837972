"""Have the chains converged, and how many independent draws are they worth: R-hat and autocorrelation ESS."""

import numpy as np
import torch

__all__ = ["chains_as_array", "effective_sample_size", "r_hat"]

#: Below this many draws a chain, autocorrelation cannot be estimated.
MINIMUM_DRAWS = 4


def effective_sample_size(values):
    r"""Number of independent draws that estimate the mean of an observable as well as these chains do.

    .. math:: \mathrm{ESS} = nm/\tau, \qquad \tau = -1 + 2\sum_k P_k, \qquad P_k = \hat\rho_{2k} + \hat\rho_{2k+1}

    where the autocorrelations ρ̂ compare the variance within chains to the variance over all, so that chains that
    disagree have a small ESS, each chain is split in two, and the sum is Geyer's initial monotone sequence. Antithetic
    chains may exceed the number of draws nm, up to nm·log10(nm).

    Special cases: chains of fewer than four draws count one each (their draws are taken as fully correlated), and an
    observable that is the same in all draws has ESS 1, since a constant is no evidence that any chain has moved.

    Arguments:
        values: (n_draws, n_chains) numbers, or (n_draws,) for a single chain.

    Returns:
        float, in draws.

    Raises:
        ValueError: another shape, no draws, or values that are not finite.

    References:
        Vehtari et al., Rank-normalization, folding, and localization: an improved R-hat, Bayesian Analysis 16 (2021).
        Geyer, Practical Markov chain Monte Carlo, Statistical Science 7 (1992).

    Example:
        >>> import numpy as np
        >>> draws = np.random.default_rng(0).normal(size=(500, 4))
        >>> 1600 < effective_sample_size(draws) < 2400
        True
        >>> 150 < effective_sample_size(np.repeat(draws, 10, axis=0)[:2000]) / 4 < 250
        True
    """
    values = _validated(values)
    if values.max() == values.min():
        return 1.0
    if len(values) < MINIMUM_DRAWS:
        return float(values.shape[1])
    values = _split(values)
    n, m = values.shape
    covariance = _autocovariance(values)
    within = covariance[0].mean() * n / (n - 1)
    total = within * (n - 1) / n + values.mean(0).var(ddof=1)
    rho = 1 - (within - covariance.mean(1)) / total
    rho[0] = 1.0
    pairs = rho[: n - n % 2].reshape(-1, 2).sum(1)
    n_positive = int(np.argmax(pairs < 0)) if (pairs < 0).any() else len(pairs)
    tau = 2 * np.minimum.accumulate(pairs[:n_positive]).sum() - 1
    if n_positive < len(pairs):
        # The first excluded even lag lowers the variance of the estimate for antithetic chains (as in Stan).
        tau += max(rho[2 * n_positive], 0.0)
    return float(n * m / max(tau, 1 / np.log10(n * m)))


def r_hat(values):
    r"""Rank-normalised split R-hat: close to 1 when all chains sample one distribution, above 1.01 when they do not.

    .. math:: \hat R = \sqrt{\big(\tfrac{n-1}{n} W + \tfrac1n B\big)/W}

    on normal scores of the ranks, with W the variance within and B the variance between half-chains; the larger of the
    values for the draws (locations differ) and for |draw − median| (scales differ).

    Special cases: NaN, meaning no statement, for fewer than four draws a chain and for an observable that is the same
    in all draws; +inf for chains that stand still in different places.

    Arguments:
        values: (n_draws, n_chains) numbers, or (n_draws,) for a single chain, of which the halves are compared.

    Returns:
        float, without unit.

    Raises:
        ValueError: another shape, no draws, or values that are not finite.

    References:
        Vehtari et al., Rank-normalization, folding, and localization: an improved R-hat, Bayesian Analysis 16 (2021).

    Example:
        >>> import numpy as np
        >>> draws = np.random.default_rng(0).normal(size=(500, 4))
        >>> r_hat(draws) < 1.01, r_hat(draws + np.arange(4)) > 1.1
        (True, True)
    """
    values = _validated(values)
    if len(values) < MINIMUM_DRAWS or values.max() == values.min():
        return float("nan")
    bulk = _split_r_hat(_normal_scores(_split(values)))
    folded = _split_r_hat(_normal_scores(_split(np.abs(values - np.median(values)))))
    # A two-valued observable folds to a constant, which says nothing; NaN loses against any number.
    return float(np.fmax(bulk, folded))


def chains_as_array(values, chain, draw):
    """Values of labelled frames, one chain a column: (n_frames,) → (n_draws, n_chains).

    Frames are ordered by `draw` in each chain, and chains are cut to a common length: that of the shortest one, unless
    leaving shorter chains out keeps more frames (a slice may hold the first frame of the next chain).

    Arguments:
        values: (n_frames,) numbers.
        chain: (n_frames,) integer label of the chain that each frame is from.
        draw: (n_frames,) integer position of each frame in its chain.

    Raises:
        ValueError: the three lengths differ.

    Example:
        >>> chains_as_array([1, 2, 3, 10, 20], chain=[0, 0, 0, 1, 1], draw=[0, 1, 2, 0, 1])
        array([[ 1, 10],
               [ 2, 20]])
    """
    values, chain, draw = (np.asarray(a) for a in (values, chain, draw))
    if not values.shape == chain.shape == draw.shape or values.ndim != 1:
        raise ValueError(
            f"values, chain and draw have shapes {values.shape}, {chain.shape}, {draw.shape}; give (n,) each"
        )
    order = np.lexsort((draw, chain))
    _, lengths = np.unique(chain, return_counts=True)
    chains = np.split(values[order], np.cumsum(lengths)[:-1])
    # Ties go to the shorter length, that is, to keeping more chains.
    n_draws = max(np.unique(lengths), key=lambda n: n * (lengths >= n).sum())
    return np.stack([c[:n_draws] for c in chains if len(c) >= n_draws], axis=1)


def _validated(values):
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"values have shape {values.shape}; give (n_draws, n_chains) with at least one draw")
    if not np.isfinite(values).all():
        raise ValueError(f"{(~np.isfinite(values)).sum()} of {values.size} values are NaN or infinite")
    return values


def _split(values):
    """Halves of each chain as chains of their own, without the middle draw where the number is odd."""
    half = len(values) // 2
    return np.concatenate([values[:half], values[-half:]], axis=1)


def _autocovariance(values):
    """Biased autocovariance of each column at all lags, by FFT with padding against wrap-around."""
    n = len(values)
    spectrum = np.fft.rfft(values - values.mean(0), n=2 * n, axis=0)
    return np.fft.irfft(np.abs(spectrum) ** 2, n=2 * n, axis=0)[:n] / n


def _normal_scores(values):
    """Φ⁻¹((rank − 3/8)/(count + 1/4)) with the average rank for ties, over all chains together."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[where.ravel()]
    quantile = torch.as_tensor((rank - 0.375) / (values.size + 0.25))
    return torch.special.ndtri(quantile).numpy().reshape(values.shape)


def _split_r_hat(values):
    # Compared exactly, since the variance of equal numbers may round to more than zero.
    if (values == values[0]).all():
        return np.nan if (values[0] == values[0, 0]).all() else np.inf
    n = len(values)
    within = values.var(0, ddof=1).mean()
    between = values.mean(0).var(ddof=1)
    return np.sqrt((n - 1) / n + between / within)
