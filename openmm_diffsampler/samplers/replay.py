"""The replay buffer: configurations that a sampler trains on, first in, first out."""

import torch

__all__ = ["ReplayBuffer"]


class ReplayBuffer:
    """At most `size` configurations.

    Arguments:
        x: (n, *event_shape) configurations to begin with.
        size: how many it holds; the oldest make room.

    Example:
        >>> buffer = ReplayBuffer(torch.zeros(2, 1), size=3)
        >>> buffer.append(torch.ones(2, 1))
        >>> buffer.x.flatten().tolist()
        [0.0, 1.0, 1.0]
    """

    def __init__(self, x, size):
        if size < 1:
            raise ValueError(f"the size of the buffer is {size}; it must be at least 1")
        self.x, self.size = x[-size:].clone(), size

    def __len__(self):
        return len(self.x)

    def append(self, x):
        """Take up `x` (n, *event_shape)."""
        self.x = torch.cat([self.x, x])[-self.size :]

    def draw(self, n, generator):
        """Rows (n,) at random: distinct ones as long as there are enough."""
        if n <= len(self):
            return torch.randperm(len(self), generator=generator, device=self.x.device)[:n]
        return torch.randint(len(self), (n,), generator=generator, device=self.x.device)

    def replace(self, rows, x):
        """Put `x` in the place of `rows`, which are distinct."""
        self.x[rows] = x
