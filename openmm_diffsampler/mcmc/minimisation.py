"""Many configurations minimised side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .state import ChainState, evaluate

if TYPE_CHECKING:
    from openmm_diffsampler.targets import Target

__all__ = ["minimised"]

#: Steps that the curvature is estimated from, halvings of a step that does not lower u, longest step in any coordinate.
_MEMORY, _N_HALVINGS, _LONGEST = 8, 12, 1.0
#: A step is taken if u falls by this share of what its slope promises; one that does not is cut to this share.
_DECREASE, _CUT = 1e-4, 0.4


def minimised(target: Target, x: torch.Tensor, n_steps: int = 300, tolerance: float = 0.05) -> ChainState:
    r"""Minima of u near each of the configurations, by the limited-memory BFGS method, each with a step of its own.

    Arguments:
        target: of vectors (d,) of about unit scale, such as internal coordinates in thermal widths.
        x: (n, d).
        n_steps: at most; each costs one evaluation of the configurations that are not there yet, or a few.
        tolerance: of \|∇u\| at a minimum.

    Returns:
        :class:`~openmm_diffsampler.mcmc.state.ChainState` of n rows. Where u was not finite it stays as it was.

    References:
        Nocedal, Math. Comput. 35, 773 (1980).

    Example:
        >>> from openmm_diffsampler import ManyWell
        >>> found = minimised(ManyWell(1), torch.tensor([[-2.0, 1.0], [2.0, 1.0]], dtype=torch.float64))
        >>> [[round(v, 1) + 0.0 for v in row] for row in found.x.tolist()]
        [[-1.7, 0.0], [1.8, 0.0]]
    """
    state = evaluate(target, x)
    moving = state.u.isfinite()
    steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for _ in range(n_steps):
        direction = _direction(-state.score, steps)
        uphill = (direction * state.score).sum(1) <= 0
        direction = torch.where(uphill[:, None], state.score, direction)
        direction = direction * (_LONGEST / direction.abs().max(1, keepdim=True).values.clamp(min=_LONGEST))
        before = state
        state, stuck = _stepped(target, state, direction, moving)
        moving = moving & ~stuck & (state.score.norm(dim=1) > tolerance)
        if not moving.any():
            break
        arm, turned = state.x - before.x, before.score - state.score
        product = (arm * turned).sum(1)
        steps = [*steps, (arm, turned, torch.where(product > 1e-10, 1 / product.clamp(min=1e-10), 0.0))][-_MEMORY:]
    return state


def _direction(gradient: torch.Tensor, steps: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """−H⁻¹∇u by the two loops of the method; rows with steps of negative curvature go without these."""
    q, shares = gradient.clone(), []
    for arm, turned, inverse in reversed(steps):
        shares.append(inverse * (arm * q).sum(1))
        q -= shares[-1][:, None] * turned
    if steps:
        arm, turned, inverse = steps[-1]
        scale = (arm * turned).sum(1) / turned.square().sum(1).clamp(min=1e-300)
        q *= torch.where(inverse > 0, scale.clamp(1e-3, 10.0), 1.0)[:, None]
    for (arm, turned, inverse), share in zip(steps, reversed(shares), strict=True):
        q += arm * (share - inverse * (turned * q).sum(1))[:, None]
    return -q


def _stepped(
    target: Target, state: ChainState, direction: torch.Tensor, moving: torch.Tensor
) -> tuple[ChainState, torch.Tensor]:
    """The state after a step of each moving row, cut until u falls, and which rows found none."""
    slope = -(direction * state.score).sum(1)
    length = torch.ones_like(state.u)
    left = moving.clone()
    x, u, score = state.x.clone(), state.u.clone(), state.score.clone()
    for _ in range(_N_HALVINGS):
        rows = left.nonzero()[:, 0]
        if not len(rows):
            break
        tried = evaluate(target, state.x[rows] + length[rows, None] * direction[rows])
        falls = tried.u <= state.u[rows] + _DECREASE * length[rows] * slope[rows]
        done = rows[falls]
        x[done], u[done], score[done] = tried.x[falls], tried.u[falls], tried.score[falls]
        left[done] = False
        length[rows] *= _CUT
    return ChainState(x, u, score), left
