"""Times as vectors that a network can tell apart."""

import math

import torch

__all__ = ["TimeEmbedding"]


class TimeEmbedding(torch.nn.Module):
    """t (n,) in [0, 1] → (n, n_features): sines and cosines of t at frequencies from 1/2 to `highest` periods.

    Arguments:
        n_features: even.
        highest: periods over the unit interval of the fastest feature.

    Example:
        >>> TimeEmbedding(8)(torch.tensor([0.0, 1.0])).shape
        torch.Size([2, 8])
    """

    def __init__(self, n_features=32, highest=64.0):
        super().__init__()
        if n_features < 2 or n_features % 2:
            raise ValueError(f"n_features is {n_features}; it must be even and positive")
        frequencies = torch.logspace(math.log2(0.5), math.log2(highest), n_features // 2, base=2.0)
        self.register_buffer("frequencies", 2 * math.pi * frequencies)

    def forward(self, t):
        angle = t[:, None].to(self.frequencies.dtype) * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], 1)
