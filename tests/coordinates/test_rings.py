"""Saturated rings and their torsions."""

import mdtraj as md
import pytest
import torch

from openmm_diffsampler.coordinates import ring_torsions, saturated_rings

from .molecules import random_positions, topology

RING = [(k, (k + 1) % 6) for k in range(6)]
HYDROGENS = [(k, 6 + 2 * k + n) for k in range(6) for n in (0, 1)]


@pytest.mark.parametrize(
    ("molecule", "rings"),
    [
        (("C" * 6 + "H" * 12, RING + HYDROGENS), [(0, 1, 2, 3, 4, 5)]),
        (("C" * 6 + "H" * 6, RING + [(k, 6 + k) for k in range(6)]), []),
        (
            (
                "COCCC" + "H" * 8,
                [(k, (k + 1) % 5) for k in range(5)] + [(k, 5 + n) for n, k in enumerate([0, 0, 2, 2, 3, 3, 4, 4])],
            ),
            [(0, 1, 2, 3, 4)],
        ),
        ("butane", []),
    ],
    ids=["cyclohexane", "benzene", "tetrahydrofuran", "butane"],
)
def test_saturated_rings(molecule, rings):
    assert saturated_rings(topology(molecule)) == rings


def test_torsions_are_those_of_mdtraj():
    x = random_positions(20, 6)
    ring = (0, 3, 1, 5, 2, 4)
    atoms = [[ring[(k + n) % 6] for n in range(4)] for k in range(6)]
    expected = md.compute_dihedrals(md.Trajectory(x.numpy(), topology("cyclohexane")), atoms, periodic=False)
    assert (ring_torsions(x, ring) - torch.as_tensor(expected)).sin().abs().max() < 1e-4
