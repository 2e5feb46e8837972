"""log Z and the absolute free energy of importance samples, as numbers and in words."""

import numpy as np

from openmm_diffsampler.targets.units import thermal_energy

from .estimates import has_weights

__all__ = ["partition_in_words", "partition_numbers"]


def partition_numbers(wt):
    r"""log Z and F = −kT log Z with standard errors, for weights exp(−u)/q; an empty dict where there are none.

    Z is the configurational integral ∫ exp(−u(x)) dx over what q is a density of; F in kJ/mol needs a temperature.

    Arguments:
        wt: a WeightedTrajectory.

    Example:
        >>> import torch
        >>> from openmm import unit
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> log_weights = torch.tensor([0.0, 1.0, 2.0])
        >>> wt = WeightedTrajectory(
        ...     torch.zeros(3, 1), log_weights, kind="importance", temperature=300 * unit.kelvin
        ... )
        >>> {name: round(value, 3) for name, value in partition_numbers(wt).items()}
        {'log Z': 1.309, 'log Z standard error': 0.516, 'free energy / kJ/mol': -3.265,
         'free energy standard error / kJ/mol': 1.286}
    """
    if not has_weights(wt):
        return {}
    value, error = wt.log_Z, wt.log_Z_standard_error
    numbers = {"log Z": value, "log Z standard error": error}
    if wt.temperature is not None:
        kT = thermal_energy(wt.temperature)
        numbers |= {"free energy / kJ/mol": -kT * value, "free energy standard error / kJ/mol": kT * error}
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


def partition_in_words(numbers):
    """Lines of the summary from what :func:`partition_numbers` returned.

    Example:
        >>> partition_in_words({"log Z": 12.3456, "log Z standard error": 0.0123})
        {'log Z': '12.3456 ± 0.0123'}
    """
    lines = {}
    for label, key, error, of in (
        ("log Z", "log Z", "log Z standard error", ""),
        (
            "absolute free energy −kT log Z",
            "free energy / kJ/mol",
            "free energy standard error / kJ/mol",
            " kJ/mol (configurational, lengths in nm)",
        ),
    ):
        if key in numbers:
            lines[label] = f"{numbers[key]:.4f} ± {numbers.get(error, float('nan')):.4f}{of}"
    return lines
