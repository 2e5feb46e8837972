"""Where a batch of chains is: positions with the energy and score that belong to them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from openmm_diffsampler.targets.positions import lengths_in_nm

if TYPE_CHECKING:
    from openmm_diffsampler.targets import Target

__all__ = ["AbsurdEnergyWarning", "ChainState", "initial_state"]

#: Reduced potential a coordinate from which on a start is absurd: an angle or bond far outside, or atoms that overlap.
_ABSURD = 3000.0


class AbsurdEnergyWarning(UserWarning):
    """Chains start at an energy that no equilibrium knows."""


@dataclass(frozen=True)
class ChainState:
    """Positions (n_chains, *event_shape) with their reduced potential (n_chains,) and score; none is computed twice."""

    x: torch.Tensor
    u: torch.Tensor
    score: torch.Tensor

    def __len__(self):
        return len(self.x)

    def where(self, accepted, proposed):
        """`proposed` in the chains where `accepted` (n_chains,) is true, this state in the others."""
        rows = accepted.reshape(-1, *(1 for _ in self.x.shape[1:]))
        return ChainState(
            torch.where(rows, proposed.x, self.x),
            torch.where(accepted, proposed.u, self.u),
            torch.where(rows, proposed.score, self.score),
        )

    def repeated(self, n):
        """These chains n times over."""
        return ChainState(*(t.repeat(n, *(1 for _ in t.shape[1:])) for t in (self.x, self.u, self.score)))

    def rows(self, rows):
        """The chains in `rows`: a slice, indices or a mask."""
        return ChainState(self.x[rows], self.u[rows], self.score[rows])

    def with_rows(self, rows, other):
        """This state, with `other` in the slice `rows`."""
        ours = [t.clone() for t in (self.x, self.u, self.score)]
        for whole, part in zip(ours, (other.x, other.u, other.score), strict=True):
            whole[rows] = part
        return ChainState(*ours)


def evaluate(target, x):
    """The state of chains at `x`."""
    return ChainState(x, *target.reduced_potential_and_score(x))


def initial_state(target: Target, positions: Any, n_chains: int | None = None) -> ChainState:
    """Start `n_chains` chains from one configuration, or one chain from each of several.

    Arguments:
        target: what is sampled.
        positions: Quantity, array or tensor, ``event_shape`` or ``(n_chains, *event_shape)``; nm for molecules.
        n_chains: how many chains, if `positions` is a single configuration.

    Raises:
        TypeError: no numbers, a quantity of another library, or one that is no length.
        ValueError: a shape that does not fit, NaN, positions in another unit by the lengths of bonds, or a start whose
            energy is not finite.

    Warns:
        AbsurdEnergyWarning: the energy is finite and absurdly high.
    """
    x = torch.as_tensor(lengths_in_nm(positions, "initial positions"), dtype=target.dtype, device=target.device)
    if x.shape == target.event_shape:
        x = x.expand(n_chains or 1, *x.shape)
    elif x.shape[1:] != target.event_shape or not len(x):
        raise ValueError(
            f"initial positions have shape {tuple(x.shape)}; {target.name} takes {target.event_shape} for one "
            f"configuration or (n_chains, {', '.join(map(str, target.event_shape))})"
        )
    elif n_chains not in (None, len(x)):
        raise ValueError(f"n_chains is {n_chains}, and initial positions hold {len(x)} configurations")
    if not x.isfinite().all():
        bad = (~x.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
        raise ValueError(f"initial positions of chains {bad[:10]} hold NaN or infinite coordinates")
    target.require_start(x)
    state = evaluate(target, target.project(x).clone())
    if not state.u.isfinite().all():
        bad = (~state.u.isfinite()).nonzero().flatten().tolist()
        raise ValueError(f"the energy is not finite at the start of chains {bad[:10]}; minimise the structure first")
    if target.temperature is not None and (highest := float(state.u.max())) > _ABSURD * x[0].numel():
        warnings.warn(
            f"chains of {target.name} start at {highest:.3g} kT; atoms overlap, or positions are not in nm. Minimise "
            "the structure first, or the run may never come down",
            AbsurdEnergyWarning,
            stacklevel=3,
        )
    return state
