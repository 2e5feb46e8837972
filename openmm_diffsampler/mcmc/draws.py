"""The states that a run of chains keeps."""

from __future__ import annotations

import torch

__all__ = ["Draws"]


class Draws:
    """States kept so far, one tensor a draw; of a run without a fixed end, as many as there is room for.

    Where the room is full, every second draw goes, and from then on only every second one is made.

    Arguments:
        n_draws: how many there will be, or None.
        room: for how many of a run without end there is room; even.

    Attributes:
        stride: how many times as far apart draws are as at first.

    Example:
        >>> draws = Draws(room=4)
        >>> for k in range(6):
        ...     draws.append(torch.tensor([k]), torch.zeros(1))
        >>> draws.x()[:, 0].tolist(), draws.stride, draws.reached
        ([3, 5], 4, 8)
    """

    def __init__(self, n_draws: int | None = None, room: int | None = None) -> None:
        self.n_draws, self.room, self.stride = n_draws, room, 1
        self.positions: list[torch.Tensor] = []
        self.energies: list[torch.Tensor] = []

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def reached(self) -> int:
        """Draws of a chain if none had gone."""
        return len(self) * self.stride

    def in_words(self) -> str:
        """How many there are, and of how many."""
        return f"{len(self):,}" + ("" if self.n_draws is None else f" of {self.n_draws:,}") + " draws"

    def append(self, x: torch.Tensor, u: torch.Tensor) -> None:
        """Keep one draw of all chains."""
        self.positions.append(x.cpu())
        self.energies.append(u.cpu())
        if len(self) == self.room:
            self.positions, self.energies = self.positions[1::2], self.energies[1::2]
            self.stride *= 2

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
