"""The states that a run of chains keeps."""

from __future__ import annotations

import torch

__all__ = ["Draws"]


class Draws:
    """States kept so far, one tensor a draw.

    Arguments:
        n_draws: how many there will be.
    """

    def __init__(self, n_draws: int) -> None:
        self.n_draws = n_draws
        self.positions: list[torch.Tensor] = []
        self.energies: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self.positions)

    def append(self, x: torch.Tensor, u: torch.Tensor) -> None:
        """Keep one draw of all chains."""
        self.positions.append(x.cpu())
        self.energies.append(u.cpu())

    def extend(self, x: torch.Tensor, u: torch.Tensor) -> None:
        """Take up draws that a file held, without a copy of them."""
        self.positions.extend(x.unbind())
        self.energies.extend(u.unbind())

    def x(self, start: int = 0) -> torch.Tensor:
        """Positions (n, n_chains, *event_shape) of the draws from `start` on."""
        return torch.stack(self.positions[start:])

    def u(self, start: int = 0) -> torch.Tensor:
        """Reduced potentials (n, n_chains) of them."""
        return torch.stack(self.energies[start:])
