"""Standard columns: there and back, volumes, the turn of stiff torsions that counts."""

import math

import pytest
import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import InternalTarget, StandardColumns


@pytest.fixture(scope="module")
def molecule():
    loaded = load_system("alanine-dipeptide")
    target = InternalTarget(loaded.target(), loaded.positions)
    generator = torch.Generator().manual_seed(0)
    y = target.from_cartesian(torch.as_tensor(loaded.positions._value)[None])
    y = y + 0.3 * torch.randn(500, 60, generator=generator, dtype=torch.float64)
    return target, y, StandardColumns.of_molecule(target, y)


def test_there_and_back(molecule):
    target, y, columns = molecule
    c = columns.to_columns(y)
    back, inside = columns.from_columns(c)
    assert inside.all()
    assert (target.to_cartesian(back) - target.to_cartesian(y)).abs().max() < 1e-5  # single precision between
    assert c[:, columns.n_circular :].mean(0).abs().max() < 1e-4
    assert (c[:, columns.n_circular :].std(0) - 1).abs().max() < 1e-4


def test_angles_come_first_and_nothing_twice(molecule):
    target, _, columns = molecule
    assert columns.order[: columns.n_circular] == target.turning
    assert sorted(columns.order) == list(range(60))


def test_volume_is_that_of_the_map(molecule):
    columns = molecule[2]
    step = columns.from_columns(torch.eye(60))[0] - columns.from_columns(torch.zeros(1, 60))[0]
    assert abs(step.abs().sum(1).log().sum() - columns.log_scale) < 1e-9


def test_a_turn_of_an_angle_changes_nothing(molecule):
    target, y, columns = molecule
    turned = y.clone()
    turned[:, target.coordinates.torsions] += target.turn
    assert torch.allclose(columns.to_columns(turned), columns.to_columns(y), atol=1e-4)


def test_stiff_torsions_count_within_one_turn(molecule):
    target, _, columns = molecule
    stiff = next(k for k in range(columns.n_circular, 60) if columns.period[k].isfinite())
    c = torch.zeros(2, 60)
    c[1, stiff] = 0.6 * columns.period[stiff] / columns.scale[stiff]
    assert columns.from_columns(c)[1].tolist() == [True, False]
    assert math.isclose(float(columns.period[stiff]), float(target.turn[columns.order[stiff] - 41]))


def test_state_makes_the_same(molecule):
    _, y, columns = molecule
    again = StandardColumns(**columns.state_dict())
    assert torch.equal(again.to_columns(y), columns.to_columns(y))
