"""Checks that the parts of a weighted trajectory fit together."""

import numpy as np
import torch
from openmm import unit

__all__ = [
    "chain_labels",
    "configurations",
    "frame_labels",
    "log_weights_of",
    "row_indices",
    "same_atoms",
    "same_temperature",
]


def configurations(x, topology):
    """Coordinates as a float tensor (n, *event_shape) on the CPU that fits the topology, copied to share no buffer.

    Raises:
        TypeError: not floating point.
        ValueError: no frames, NaN or infinite coordinates, or a shape that does not fit the topology.
    """
    x = torch.as_tensor(x).detach().to("cpu", copy=True)
    if not x.is_floating_point():
        raise TypeError(f"x has dtype {x.dtype}; give float32 or float64")
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; give (n, *event_shape) with at least one frame")
    finite = x.flatten(1).isfinite().all(1)
    if not finite.all():
        raise ValueError(
            f"{(~finite).sum()} of {len(x)} frames have NaN or infinite coordinates, the first is frame "
            f"{finite.int().argmin()}; to let a failed draw count, give it a finite configuration and log-weight -inf"
        )
    if topology is not None and (x.ndim != 3 or x.shape[1] != topology.n_atoms or x.shape[2] not in (2, 3)):
        raise ValueError(
            f"x has shape {tuple(x.shape)}, and the topology {topology.n_atoms} atoms: give (n, n_atoms, 3 or 2)"
        )
    return x


def frame_labels(name, values, n, dtype=torch.float64):
    """One number a frame as a detached (n,) tensor on the CPU without NaN, or None for None."""
    if values is None:
        return None
    values = torch.as_tensor(values).detach().cpu()
    if values.shape != (n,):
        raise ValueError(f"{name} has shape {tuple(values.shape)}, and there are {n} frames; give ({n},)")
    if values.is_floating_point() and not dtype.is_floating_point:
        raise TypeError(f"{name} has dtype {values.dtype}; give integers")
    if values.isnan().any():
        raise ValueError(f"{name} is NaN in {values.isnan().sum()} of {n} frames")
    return values.to(dtype)


def chain_labels(kind, chain, draw, n):
    """Chain and draw of n frames, by default one chain in order; (None, None) for importance samples."""
    if kind == "importance":
        if chain is not None or draw is not None:
            raise ValueError("chain and draw label correlated frames; importance samples are independent, so pass none")
        return None, None
    chain = torch.zeros(n, dtype=torch.int64) if chain is None else chain
    draw = torch.arange(n) if draw is None else draw
    return frame_labels("chain", chain, n, torch.int64), frame_labels("draw", draw, n, torch.int64)


def log_weights_of(log_weights, n, equal):
    """Log-weights of n frames, at least one of them above −inf and none +inf; all the same if `equal`."""
    log_weights = frame_labels("log_weights", log_weights, n)
    if log_weights is None:
        raise TypeError("log_weights is None; give (n,) numbers, zeros for equal weights")
    if log_weights.isposinf().any():
        raise ValueError(f"{log_weights.isposinf().sum()} of {n} log-weights are +inf; every weight must be finite")
    if log_weights.isneginf().all():
        raise ValueError(f"all weights are zero in {n} frames; at least one log-weight must be above -inf")
    if equal and (log_weights != log_weights[0]).any():
        raise ValueError(
            "frames of chains and resampled frames have equal weights, and these differ; see kind='importance'"
        )
    return log_weights


def row_indices(index, n):
    """Rows that an int, slice, index array or boolean mask selects of n, as an int64 tensor (one row for an int).

    Raises:
        IndexError: out of range, a mask of another length, more than one dimension, or nothing selected.

    Example:
        >>> row_indices(-1, 3), row_indices([True, False, True], 3)
        (tensor([2]), tensor([0, 2]))
    """
    if not isinstance(index, int | slice | tuple):
        index = np.asarray(index)
        if index.size == 0:
            raise IndexError("the selection is empty; a trajectory has at least one frame")
    rows = np.atleast_1d(np.arange(n)[index])
    if rows.ndim != 1 or rows.size == 0:
        raise IndexError(f"the selection has shape {rows.shape}; select at least one frame, in one dimension")
    # A reversed slice has a negative stride, which torch cannot take.
    return torch.as_tensor(rows.copy())


def same_atoms(a, b):
    """Whether two mdtraj topologies (or None) list the same atoms: names, elements, and residues by position."""
    if a is None or b is None or a is b:
        return a is b
    atoms = [[(atom.name, atom.element.symbol, atom.residue.index) for atom in topology.atoms] for topology in (a, b)]
    return atoms[0] == atoms[1]


def same_temperature(a, b):
    """Whether two temperatures (Quantities or None) agree to one part in a billion."""
    if a is None or b is None:
        return a is b
    kelvin = [temperature.value_in_unit(unit.kelvin) for temperature in (a, b)]
    return bool(np.isclose(*kelvin, rtol=1e-9, atol=0))
