import mdtraj as md
import numpy as np
import pytest
import torch

from openmm_diffsampler.analysis import WeightedTrajectory, default_observables
from openmm_diffsampler.coordinates import rotatable_torsions


def molecule(elements, bonds):
    topology = md.Topology()
    residue = topology.add_residue("MOL", topology.add_chain())
    atoms = [topology.add_atom(f"{e}{i}", md.element.get_by_symbol(e), residue) for i, e in enumerate(elements)]
    for i, j in bonds:
        topology.add_bond(atoms[i], atoms[j])
    return topology


def test_backbone_torsions_come_first(dipeptide_chains, with_torsions):
    phi, psi = np.random.default_rng(2).uniform(-180, 180, size=(2, 300))
    found = default_observables(dipeptide_chains)
    assert list(found) == ["cos phi", "sin phi", "cos psi", "sin psi", "energy"]
    # The chains were built draw by draw, and frames are ordered chain by chain.
    order = np.arange(300).reshape(50, 6).T.ravel()
    assert found["sin phi"] == pytest.approx(np.sin(np.radians(phi))[order], abs=1e-4)
    assert found["cos psi"] == pytest.approx(np.cos(np.radians(psi))[order], abs=1e-4)
    assert found["energy"].tolist() == dipeptide_chains.reduced_potential.tolist()


def test_other_molecules_use_rotatable_bonds():
    """Ethylbenzene-like: a six-membered ring with a tail of two; only ring-tail and within the tail rotate."""
    ring = [(i, (i + 1) % 6) for i in range(6)]
    topology = molecule("CCCCCCCCH", [*ring, (0, 6), (6, 7), (7, 8)])
    assert rotatable_torsions(topology) == [(1, 0, 6, 7), (0, 6, 7, 8)]
    x = torch.randn(8, 2, 9, 3, generator=torch.Generator().manual_seed(0))
    found = default_observables(WeightedTrajectory.from_chains(x, topology=topology))
    assert list(found) == [f"{f} torsion {t}" for t in ("1-0-6-7", "0-6-7-8") for f in ("cos", "sin")]


def test_heavy_neighbours_are_preferred():
    assert rotatable_torsions(molecule("HCCHC", [(0, 1), (1, 2), (2, 3), (2, 4)])) == [(0, 1, 2, 4)]


def test_triatomics_have_no_torsions():
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    wt = WeightedTrajectory.from_chains(x, topology=molecule("HOH", [(0, 1), (1, 2)]))
    found = default_observables(wt)
    assert list(found) == ["radius of gyration"]
    expected = np.linalg.norm(wt.x - wt.x.mean(1, keepdim=True), axis=2)
    assert found["radius of gyration"] == pytest.approx(np.sqrt((expected**2).mean(1)), rel=1e-6)
