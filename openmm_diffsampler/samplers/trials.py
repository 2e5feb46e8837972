"""What makes weights exact that an encoder gives whose latents do not always lead back to the sample."""

import math

import torch

__all__ = ["is_near", "trials_until", "with_trials"]

#: Standard deviations that a sample may be further from where its latent leads than Gaussian noise is on average.
_REACH = 3.0


def is_near(target, standardised):
    r"""Whether (x − μ)/δ (n, *event_shape) is no longer than :math:`\sqrt D + 3`: of Gaussian noise 99.99 % is.

    Latents from which x is further away are as good as missing among samples, and the few that are there would have the
    largest weights, since an encoder is wider than what it is to learn. A shorter reach has weights that are more even
    still, but loses configurations that no latent leads so close to.
    """
    return standardised.flatten(1).square().sum(1).sqrt() < math.sqrt(target.n_degrees_of_freedom) + _REACH


def with_trials(log_weights, near, leads_back, most):
    """Log-weights (n,) of samples that are near where their latents lead, normalised by :func:`trials_until`.

    Arguments:
        log_weights: those of the density of all latents.
        near: (n,) whether a sample is.
        leads_back: function of rows, indices of samples, that draws a latent for each and says whether x is near there.
        most: draws of a row at most.
    """
    log_weights = torch.where(near, log_weights, -torch.inf)
    rows = (log_weights > -torch.inf).nonzero()[:, 0]  # no draws for weights that vanish anyway
    counts = trials_until(lambda these: leads_back(rows[these]), len(rows), most)
    return log_weights.index_add(0, rows, counts.log().to(log_weights))


def trials_until(accepts, n, most):
    r"""How many draws each of n rows takes until the first that is accepted, at most `most`: (n,) in double precision.

    With a density p_E(z | x) of latents, part of which lies on z that lead to other configurations than x, pairs of
    that kind are missing among samples, and the mean of :math:`e^{-u} p_E(z \mid x)/(q(z)\,q(x \mid z))` over any
    practical number of them is Z less that part. The density of those that are accepted is

    .. math:: p_A(z \mid x) = p_E(z \mid x)\,a(z, x)/A(x), \qquad A(x) = \int p_E(z \mid x)\,a(z, x)\,dz,
              \qquad a \in \{0, 1\},

    and the number of independent draws of p_E up to the first accepted one has the mean 1/A(x): a weight times that
    number is one of p_A, without bias where a configuration has latents that lead back at all, unless `most` cuts it
    short.

    Arguments:
        accepts: function of rows, a tensor of indices that may repeat, that draws once for each and says (len(rows),)
            whether that one is accepted.
        n: rows.
        most: draws of a row after which it is left with that number.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> found = trials_until(lambda rows: torch.rand(len(rows), generator=generator) < 0.25, 100_000, 1000)
        >>> round(float(found.mean()), 1)
        4.0
    """
    counts, left, n_tried = torch.ones(n, dtype=torch.float64), torch.arange(n), 0
    while len(left) and n_tried < most - 1:
        k = min(max(1, n // len(left)), most - 1 - n_tried)  # few rows draw several times at once, n draws in all
        accepted = accepts(left.repeat(k)).to(left.device).reshape(k, -1)
        found = accepted.any(0)
        counts[left] += torch.where(found, accepted.int().argmax(0), k)
        left, n_tried = left[~found], n_tried + k
    return counts
