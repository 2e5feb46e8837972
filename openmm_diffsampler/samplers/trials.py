"""What makes weights exact that an encoder gives whose latents do not always lead back to the sample."""

import math

import torch

__all__ = ["is_near", "trials_until"]

#: Standard deviations that a sample may be further from where its latent leads than Gaussian noise is on average.
_REACH = 6.0


def is_near(target, standardised):
    r"""Whether (x − μ)/δ (n, *event_shape) is no longer than :math:`\sqrt D + 6`: all but 1e-8 of Gaussian noise is."""
    return standardised.flatten(1).square().sum(1).sqrt() < math.sqrt(target.n_degrees_of_freedom) + _REACH


def trials_until(accepts, n, most):
    r"""How many draws each of n rows takes until the first that is accepted, at most `most`: (n,) in double precision.

    With a density p_E(z | x) of latents, part of which lies on z that lead to other configurations than x, pairs of
    that kind are missing among samples, and the mean of :math:`e^{-u} p_E(z \mid x)/(q(z)\,q(x \mid z))` over any
    practical number of them is Z less that part. The density of those that are accepted is

    .. math:: p_A(z \mid x) = p_E(z \mid x)\,a(z, x)/A(x), \qquad A(x) = \int p_E(z \mid x)\,a(z, x)\,dz,
              \qquad a \in \{0, 1\},

    and the number of independent draws of p_E up to the first accepted one has the mean 1/A(x): a weight times that
    number is one of p_A, without bias unless `most` cuts it short.

    Arguments:
        accepts: function of rows, a tensor of indices, that draws once for each and says (len(rows),) whether that one
            is accepted.
        n: rows.
        most: draws of a row after which it is left with that number.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> found = trials_until(lambda rows: torch.rand(len(rows), generator=generator) < 0.25, 100_000, 1000)
        >>> round(float(found.mean()), 1)
        4.0
    """
    counts, left = torch.ones(n, dtype=torch.float64), torch.arange(n)
    for _ in range(most - 1):
        if not len(left):
            break
        left = left[~accepts(left).to(left.device)]
        counts[left] += 1
    return counts
