"""The Metropolis decision of a batch of chains."""

import torch

__all__ = ["metropolis"]


def metropolis(log_ratio, generator):
    """Accept with probability min(1, e^{log_ratio}); NaN, as after a trajectory that ran off, counts as zero.

    Returns which chains accept, and their probabilities, both (n_chains,).
    """
    probability = log_ratio.clamp(max=0).exp().nan_to_num(0.0)
    uniform = torch.rand(len(log_ratio), generator=generator, dtype=probability.dtype, device=probability.device)
    return uniform < probability, probability
