"""Stereocentres of molecules whose stereochemistry is known."""

import pytest
import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import Handedness, rotor_orders, stereocentres

from .molecules import topology

RING = [(k, (k + 1) % 6) for k in range(6)]


AROUND = [(0, 1), (0, 2), (0, 3), (0, 4)]
MOLECULES = {
    "four substituents": (("CHFNO", AROUND), [0]),
    "two of them equal": (("CHHFO", AROUND), []),
    "2-butanol": (("CCCCOH", [(0, 1), (1, 2), (2, 3), (1, 4), (1, 5)]), [1]),
    "isopropanol": (("CCCOH", [(0, 1), (1, 2), (1, 3), (1, 4)]), []),
    "ring with two substituents, cis or trans": (("C" * 6 + "FHFH", [*RING, (0, 6), (0, 7), (3, 8), (3, 9)]), [0, 3]),
}


@pytest.mark.parametrize("name", MOLECULES)
def test_stereocentres(name):
    molecule, centres = MOLECULES[name]
    assert [c[0] for c in stereocentres(topology(molecule))] == centres


def test_both_residues_of_aspartame():
    atoms = load_system("aspartame").mdtraj_topology
    assert {atoms.atom(c[0]).name[:2] for c in stereocentres(atoms)} == {"CA"}
    assert len(stereocentres(atoms)) == 2


def test_mirror_images_are_told_apart():
    molecule = load_system("aspartame")
    x = torch.as_tensor(molecule.positions._value)
    handedness = Handedness(molecule.mdtraj_topology, x)
    assert handedness.is_kept(torch.stack([x, x * torch.tensor([1, 1, -1])])).tolist() == [True, False]
    none = Handedness(topology("methane"), torch.zeros(5, 3))
    assert len(none) == 0 and none.is_kept(torch.zeros(2, 5, 3)).all()


def test_rotors():
    ethanol = topology(("CCOHHHHHH", [(0, 1), (1, 2), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7), (2, 8)]))
    assert rotor_orders(ethanol, [(3, 0, 1, 2), (0, 1, 2, 8)]) == [3, 1]
