"""Arguments of the OpenMM integrator and move: Quantities at the boundary, plain numbers inside."""

from openmm import unit

__all__ = ["require_seed", "require_timestep", "scales_in_nm"]


def scales_in_nm(noise_scales):
    """Noise scales as plain numbers, or arrays of one number a particle, in nm.

    Raises:
        TypeError: one number instead of a list of levels, or a unit that is no length.
        ValueError: no level at all.
    """
    if unit.is_quantity(noise_scales):
        noise_scales = _length(noise_scales)
    if not hasattr(noise_scales, "__len__"):
        raise TypeError(f"noise_scales is {noise_scales}; give a list of levels, for example [{noise_scales}]")
    if not len(noise_scales):
        raise ValueError("there is no noise level; give noise_scales, for example [0.001] * openmm.unit.nanometer")
    return [_length(scale) for scale in noise_scales]


def _length(quantity):
    if not unit.is_quantity(quantity):
        return [_length(part) for part in quantity] if hasattr(quantity, "__len__") else quantity
    if not quantity.unit.is_compatible(unit.nanometer):
        raise TypeError(f"noise_scales are in {quantity.unit}, which is no length; give them in nanometers")
    return quantity.value_in_unit(unit.nanometer)


def require_timestep(timestep):
    """Return `timestep` if it is a positive, finite Quantity of time, and raise if it is not."""
    if not unit.is_quantity(timestep) or not timestep.unit.is_compatible(unit.picosecond):
        raise TypeError(f"timestep is {timestep!r}, which is no time; write for example 1 * openmm.unit.femtosecond")
    if not 0 < timestep.value_in_unit(unit.picosecond) < float("inf"):
        raise ValueError(f"timestep is {timestep}; it must be positive and finite")
    return timestep


def require_seed(seed):
    """Return `seed` if OpenMM takes it."""
    if isinstance(seed, bool) or seed != int(seed) or not 0 <= seed < 2**31:
        raise ValueError(f"seed is {seed}; it must be a whole number from 0 to 2³¹ − 1")
    return int(seed)
