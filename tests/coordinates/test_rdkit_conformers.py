"""Conformers of distance geometry: order of atoms, stereochemistry, what there is no way to embed."""

import sys

import numpy as np
import pytest
import torch
from openmm import app

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import Handedness, stereocentres
from openmm_diffsampler.coordinates.graph import neighbours
from openmm_diffsampler.coordinates.handedness import signed_volumes
from openmm_diffsampler.coordinates.rdkit_conformers import rdkit_conformers, rdkit_molecule

from .molecules import topology


def system(name):
    molecule = load_system(name)
    return molecule.mdtraj_topology, torch.as_tensor(molecule.positions._value)


def test_without_rdkit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(ImportError, match=r"pip install openmm_diffsampler\[chem\]"):
        rdkit_conformers(*system("alanine-dipeptide"))


@pytest.mark.parametrize("name", ["alanine-dipeptide", "aspartame"])
def test_conformers_have_the_handedness_and_the_order_of_equal_neighbours(name):
    pytest.importorskip("rdkit")
    atoms, x = system(name)
    found = rdkit_conformers(atoms, x, n=20, seed=1)
    assert found.shape == (20, len(x), 3)
    assert Handedness(atoms, x).is_kept(found).all()
    four = torch.tensor([(a, *sorted(b)[:3]) for a, b in neighbours(atoms).items() if len(b) == 4])
    assert (signed_volumes(found, four) * signed_volumes(x[None], four) > 0).all()


def test_bonds_are_as_long_as_in_the_positions():
    pytest.importorskip("rdkit")
    atoms, x = system("alanine-dipeptide")
    pairs = torch.tensor([(a.index, b.index) for a, b in atoms.bonds])

    def lengths(x):
        return (x[..., pairs[:, 0], :] - x[..., pairs[:, 1], :]).norm(dim=-1)

    assert (lengths(rdkit_conformers(atoms, x, n=5)) - lengths(x)).abs().max() < 0.02


def test_mirror_image_has_mirrored_conformers():
    pytest.importorskip("rdkit")
    atoms, x = system("alanine-dipeptide")
    found = rdkit_conformers(atoms, -x, n=5)
    assert not Handedness(atoms, x).is_kept(found).any()
    assert len(found) == 5


def test_seeds_repeat_and_differ():
    pytest.importorskip("rdkit")
    atoms, x = system("alanine-dipeptide")
    once, again, other = (rdkit_conformers(atoms, x, n=2, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.allclose(once[0], once[1])
    assert not torch.allclose(once, other)


def test_openmm_topologies_give_the_same():
    pytest.importorskip("rdkit")
    molecule = load_system("alanine-dipeptide")
    assert isinstance(molecule.topology, app.Topology)
    both = [rdkit_conformers(t, molecule.positions._value, n=2) for t in (molecule.topology, molecule.mdtraj_topology)]
    assert torch.equal(*both)


def test_bond_orders_and_charges_are_guessed():
    pytest.importorskip("rdkit")
    from rdkit import Chem

    molecule = Chem.Mol(rdkit_molecule(*system("aspartame")))
    guessed = Chem.MolToSmiles(Chem.RemoveHs(molecule), isomericSmiles=False)
    zwitterion = "COC(=O)C(Cc1ccccc1)NC(=O)C([NH3+])CC(=O)[O-]"
    assert guessed == Chem.MolToSmiles(Chem.MolFromSmiles(zwitterion))


def test_a_centre_in_a_ring_that_rdkit_takes_for_none_keeps_its_face():
    # Fluorocyclohexane: the centre looks the same both ways round the ring, but coordinates tell its faces apart.
    pytest.importorskip("rdkit")
    from rdkit import Chem
    from rdkit.Chem import AllChem

    made = Chem.AddHs(Chem.MolFromSmiles("FC1CCCCC1"))
    AllChem.EmbedMolecule(made, randomSeed=1)
    elements = "".join(a.GetSymbol() for a in made.GetAtoms())
    atoms = topology((elements, [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in made.GetBonds()]))
    x = torch.as_tensor(np.asarray(made.GetConformer().GetPositions())) / 10
    assert len(stereocentres(atoms)) == 1
    found = rdkit_conformers(atoms, x, n=40)
    assert len(found) == 40
    assert Handedness(atoms, x).is_kept(found).all()
    halogen = elements.index("F")
    third = elements.index("C", elements.index("C") + 2)  # ring atoms come first, in their order
    is_axial = (found[:, halogen] - found[:, third]).norm(dim=1) < 0.33  # 0.29 nm gauche, 0.37 anti
    assert 0.1 < is_axial.double().mean() < 0.9


def test_impossible_numbers_and_topologies_are_refused():
    pytest.importorskip("rdkit")
    atoms, x = system("alanine-dipeptide")
    with pytest.raises(ValueError, match="n is 0"):
        rdkit_conformers(atoms, x, n=0)
    with pytest.raises(ValueError, match="no bonds"):
        rdkit_conformers(topology(("HH", [])), torch.zeros(2, 3))


def test_nonsense_is_embedded_with_single_bonds_and_a_warning():
    # Two carbons with one hydrogen between them are no molecule of any charge.
    pytest.importorskip("rdkit")
    atoms = topology(("CCHHHHHHFF", [(0, 1), *((0, k) for k in range(2, 6)), *((1, k) for k in range(6, 10)), (2, 6)]))
    with pytest.warns(UserWarning, match="all of them as single"):
        rdkit_molecule(atoms, torch.rand(10, 3, generator=torch.Generator().manual_seed(0)).double())
