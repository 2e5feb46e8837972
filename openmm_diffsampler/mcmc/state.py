"""Where a batch of chains is: positions with the energy and score that belong to them."""

from dataclasses import dataclass

import torch

from openmm_diffsampler.targets.units import in_md_units

__all__ = ["ChainState", "initial_state"]


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


def initial_state(target, positions, n_chains=None):
    """Start `n_chains` chains from one configuration, or one chain from each of several.

    Arguments:
        target: what is sampled.
        positions: Quantity, array or tensor, ``event_shape`` or ``(n_chains, *event_shape)``; nm for molecules.
        n_chains: how many chains, if `positions` is a single configuration.

    Raises:
        ValueError: a shape that does not fit, or a start whose energy is not finite.
    """
    x = torch.as_tensor(in_md_units(positions), dtype=target.dtype, device=target.device)
    if x.shape == target.event_shape:
        x = x.expand(n_chains or 1, *x.shape)
    elif x.shape[1:] != target.event_shape or not len(x):
        raise ValueError(
            f"initial positions have shape {tuple(x.shape)}; {target.name} takes {target.event_shape} for one "
            f"configuration or (n_chains, {', '.join(map(str, target.event_shape))})"
        )
    elif n_chains not in (None, len(x)):
        raise ValueError(f"n_chains is {n_chains}, and initial positions hold {len(x)} configurations")
    state = evaluate(target, target.project(x).clone())
    if not state.u.isfinite().all():
        bad = (~state.u.isfinite()).nonzero().flatten().tolist()
        raise ValueError(f"the energy is not finite at the start of chains {bad[:10]}; minimise the structure first")
    return state
