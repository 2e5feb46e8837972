"""Basins that weighted samples have too little of, compared with equilibrium configurations."""

from dataclasses import dataclass

import numpy as np

__all__ = ["UnderRepresented", "under_represented"]


@dataclass(frozen=True)
class UnderRepresented:
    """A basin that samples have too little of.

    Attributes:
        label: of the basin.
        population: weighted population in the samples.
        held_out: population in the held-out configurations.
        z: their difference in combined standard errors.

    Example:
        >>> str(UnderRepresented("C7ax", 0.0004, 0.003, 7.2))
        'C7ax has a population of 0.0004 in the samples and 0.003 in held-out configurations, 7 standard errors more'
    """

    label: object
    population: float
    held_out: float
    z: float

    def __str__(self):
        return (
            f"{self.label} has a population of {self.population:.2g} in the samples and {self.held_out:.2g} in "
            f"held-out configurations, {self.z:.0f} standard errors more"
        )


def under_represented(log_weights, labels, held_out_labels, n_independent, threshold=4.0):
    r"""Basins whose held-out population exceeds the weighted one by `threshold` combined standard errors.

    The standard errors are √(Σ ŵ_i² (1_i − p)²) of the weighted population p and √(p(1 − p)/m) of the held-out one.

    Arguments:
        log_weights: (n,) of the samples.
        labels, held_out_labels: (n,) and (m,), the basin that each is in.
        n_independent: how many independent draws the held-out configurations are worth.
        threshold: in standard errors.

    Returns:
        tuple of UnderRepresented, the worst first.

    Raises:
        ValueError: not one label for each log-weight, or no held-out labels.

    Example:
        >>> labels, held_out = ["a"] * 1000, ["a"] * 900 + ["b"] * 100
        >>> [row.label for row in under_represented(np.zeros(1000), labels, held_out, 1000)]
        ['b']
    """
    labels, held_out_labels = np.asarray(labels), np.asarray(held_out_labels)
    if labels.shape != np.shape(log_weights) or held_out_labels.ndim != 1 or not len(held_out_labels):
        raise ValueError(
            f"labels have shapes {labels.shape} and {held_out_labels.shape}; give one for each configuration"
        )
    weights = np.exp(log_weights - np.max(log_weights))
    weights /= weights.sum()
    rows = []
    for label in np.unique(held_out_labels):
        inside = labels == label
        p, held_out = weights[inside].sum(), (held_out_labels == label).mean()
        variance = (weights**2 * (inside - p) ** 2).sum() + held_out * (1 - held_out) / n_independent
        # Where both have all in one basin, there is no variance and no difference.
        if held_out - p > threshold * np.sqrt(variance):
            z = (held_out - p) / np.sqrt(variance) if variance > 0 else np.inf
            rows.append(UnderRepresented(label.item(), float(p), float(held_out), float(z)))
    return tuple(sorted(rows, key=lambda row: -row.z))
