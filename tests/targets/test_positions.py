"""Positions in every form that users have them in: read right, or refused by name."""

from fractions import Fraction

import mdtraj
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler import HMC, InternalDiffusiveGibbs, OpenMMTarget, load_system
from openmm_diffsampler.mcmc.state import initial_state
from openmm_diffsampler.targets.positions import lengths_in_nm, positions_array

MOLECULE = load_system("alanine-dipeptide-vacuum")
X = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]])


class PintLike:
    """As pint and openff.units have it: numpy turns it into its bare numbers."""

    __module__ = "pint"

    def __init__(self, magnitude, units="angstrom"):
        self.magnitude, self.units = magnitude, units

    def m_as(self, units):
        return self.magnitude / 10

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.magnitude, dtype=dtype)

    def __len__(self):
        return len(self.magnitude)

    def __getitem__(self, k):
        return PintLike(self.magnitude[k], self.units)


class AstropyLike(np.ndarray):
    """As astropy has it: an array with a unit."""

    __module__ = "astropy.units.quantity"
    unit = "Angstrom"


FOREIGN = {
    "pint": (PintLike(10 * X), r'pint.PintLike in angstrom.*positions\.m_as\("nanometer"\) \* openmm.unit.nanometer'),
    "rows of pint": ([PintLike(row) for row in 10 * X], "pint.PintLike in angstrom"),
    "numbers of pint": ([[PintLike(v) for v in row] for row in 10 * X], "pint.PintLike in angstrom"),
    "an object array": (np.frompyfunc(PintLike, 1, 1)(10 * X), "pint.PintLike"),
    "astropy": ((10 * X).view(AstropyLike), r'AstropyLike in Angstrom.*\.to_value\("nm"\)'),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_quantities_of_other_libraries_are_refused_by_name(name):
    positions, message = FOREIGN[name]
    with pytest.raises(TypeError, match=message):
        positions_array(positions, 2)


def test_foreign_quantities_are_refused_wherever_positions_come_in():
    x = PintLike(10 * np.array(MOLECULE.positions._value))
    target = MOLECULE.target()
    for use in (
        lambda: OpenMMTarget(MOLECULE.system, MOLECULE.temperature, positions=x),
        lambda: initial_state(target, x),
        lambda: InternalDiffusiveGibbs(target, x),
        lambda: HMC(target, step_size=0.001, n_leapfrog=2).sample(x, 1),
    ):
        with pytest.raises(TypeError, match="a quantity of another library"):
            use()


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (None, "positions are None"),
        ("0 0 0", "positions are a str"),
        ({"x": 1}, "positions are a dict"),
        ([["0", "1", "2"]] * 2, "positions are a list"),
        (X + 1j, "positions are a ndarray"),
        (X > 0.2, "positions are a ndarray"),
        ([None, None], "positions are a list"),
        ((row for row in X), "positions are a generator"),
        (torch.zeros(2, 3, dtype=torch.bool), "a tensor of torch.bool"),
        (torch.zeros(2, 3, dtype=torch.complex64), "a tensor of torch.complex64"),
        (mdtraj.Trajectory(X[None], None), r"a Trajectory.*give trajectory.xyz\[0\], which is in nm"),
        (X * unit.kelvin, "positions are in kelvin, which is no length"),
        (unit.Quantity(X, unit.dimensionless), "which is no length"),
        ([[1 * unit.kelvin] * 3] * 2, "positions are in kelvin, which is no length"),
    ],
)
def test_what_is_no_length_is_a_type_error(positions, message):
    with pytest.raises(TypeError, match=message):
        positions_array(positions, 2)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([], r"shape \(0,\) and the System 2"),
        ([[0, 1, 2], [3, 4]], "lists of unequal length"),
        (X[None], r"shape \(1, 2, 3\).*give one configuration, \(2, 3\)"),
        (1.0, r"shape \(\)"),
        (np.ma.masked_greater(X, 0.4), "masked entries"),
    ],
)
def test_wrong_numbers_are_a_value_error(positions, message):
    with pytest.raises(ValueError, match=message):
        positions_array(positions, 2)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (np.ma.array(X), X),
        (torch.tensor(X, requires_grad=True), X),
        ([torch.tensor(row) for row in X], X),
        ([row * 10 * unit.angstrom for row in X], X),
        ([[v * unit.nanometer for v in row] for row in X], X),
        (np.arange(6).reshape(2, 3), np.arange(6.0).reshape(2, 3)),
        ([[Fraction(1, 2)] * 3] * 2, np.full((2, 3), 0.5)),
    ],
    ids=["masked", "tensor", "tensors", "quantities", "single quantities", "integers", "fractions"],
)
def test_numbers_in_any_form_are_read(positions, expected):
    np.testing.assert_allclose(positions_array(positions, 2), expected, rtol=1e-15)


def test_single_precision_stays():
    assert lengths_in_nm(X.astype(np.float32)).dtype == np.float32
