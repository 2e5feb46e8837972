"""Chains or several trajectories into one, and weighted frames into equally weighted ones."""

import numpy as np
import torch

from .validation import same_atoms, same_temperature

__all__ = ["chain_fields", "joined_fields", "resampled_rows"]


def chain_fields(x, reduced_potential):
    """Arguments of the WeightedTrajectory of chains (n_draws, n_chains, ...), ordered chain by chain.

    Raises:
        ValueError: `x` has too few dimensions, or `reduced_potential` is not (n_draws, n_chains).
    """
    x = torch.as_tensor(x)
    if x.ndim < 3:
        raise ValueError(f"x has shape {tuple(x.shape)}; give (n_draws, n_chains, *event_shape)")
    n_draws, n_chains = x.shape[:2]
    if reduced_potential is not None:
        reduced_potential = torch.as_tensor(reduced_potential)
        if reduced_potential.shape != (n_draws, n_chains):
            found = tuple(reduced_potential.shape)
            raise ValueError(f"reduced_potential has shape {found}, and x is ({n_draws}, {n_chains}, ...)")
        reduced_potential = reduced_potential.T.flatten()
    return {
        "x": x.transpose(0, 1).flatten(0, 1),
        "log_weights": torch.zeros(n_draws * n_chains, dtype=torch.float64),
        "kind": "mcmc",
        "reduced_potential": reduced_potential,
        "chain": torch.arange(n_chains).repeat_interleave(n_draws),
        "draw": torch.arange(n_draws).repeat(n_chains),
    }


def joined_fields(parts):
    """Arguments of the WeightedTrajectory that is all parts in order; chains of different parts get different labels.

    Raises:
        ValueError: no parts, or parts of different kind, event shape, atoms or temperature, or of which only some have
            reduced potentials or proposal densities.
    """
    if not parts:
        raise ValueError("there is nothing to join; give at least one WeightedTrajectory")
    first, *others = parts
    for other in others:
        if first.kind != other.kind:
            raise ValueError(f"cannot join kinds {first.kind!r} and {other.kind!r}")
        if first.x.shape[1:] != other.x.shape[1:]:
            raise ValueError(f"cannot join event shapes {tuple(first.x.shape[1:])} and {tuple(other.x.shape[1:])}")
        if not same_atoms(first.topology, other.topology):
            raise ValueError("cannot join trajectories whose topologies have different atoms")
        if not same_temperature(first.temperature, other.temperature):
            raise ValueError(f"cannot join temperatures {first.temperature} and {other.temperature}")
    joined = {"x": torch.cat([part.x for part in parts])}
    for name in ("log_weights", "reduced_potential", "log_q", "draw"):
        fields = [getattr(part, name) for part in parts]
        missing = [i for i, field in enumerate(fields) if field is None]
        if 0 < len(missing) < len(parts):
            raise ValueError(f"part {missing[0]} has no {name}, and others have; set it to None in all or in none")
        joined[name] = None if missing else torch.cat(fields)
    if first.kind != "importance":
        # Equal weights may have another constant in each part.
        joined["log_weights"] = torch.zeros(len(joined["x"]), dtype=torch.float64)
        chains, free = [], 0
        for part in parts:
            chains.append(part.chain - part.chain.min() + free)
            free = chains[-1].max() + 1
        joined["chain"] = torch.cat(chains)
    if first.kind == "resampled":
        joined["source_effective_sample_size"] = sum(part.source_effective_sample_size for part in parts)
    return joined


def resampled_rows(weights, n, seed):
    """Systematic resampling: n ascending rows, of which row i is ⌊n·wᵢ⌋ or ⌈n·wᵢ⌉, on average n·wᵢ.

    Arguments:
        weights: (n_frames,) that sum to one.
        n: number of rows to draw.
        seed: integer that fixes the draw.

    References:
        Douc and Cappé, Comparison of resampling schemes for particle filtering, ISPA (2005).

    Example:
        >>> import torch
        >>> resampled_rows(torch.tensor([0.25, 0.0, 0.75]), 8, seed=0)
        tensor([0, 0, 2, 2, 2, 2, 2, 2])
    """
    if n < 1:
        raise ValueError(f"n is {n}; draw at least one frame")
    positions = (np.arange(n) + np.random.default_rng(seed).random()) / n
    cumulative = np.cumsum(np.asarray(weights, dtype=np.float64))
    # Division makes the last one exactly 1, above every position.
    return torch.as_tensor(np.searchsorted(cumulative / cumulative[-1], positions, side="right"))
