"""Topologies of small molecules, written as bonds between elements, and positions for them."""

import mdtraj as md
import numpy as np
import torch

__all__ = ["MOLECULES", "random_positions", "topology"]

_ELEMENTS = {"C": "carbon", "H": "hydrogen", "O": "oxygen", "N": "nitrogen", "F": "fluorine", "Cl": "chlorine"}

#: name → elements and bonds.
MOLECULES = {
    "diatomic": ("CO", [(0, 1)]),
    "water": ("HOH", [(0, 1), (1, 2)]),
    "ammonia": ("NHHH", [(0, 1), (0, 2), (0, 3)]),
    "methane": ("CHHHH", [(0, 1), (0, 2), (0, 3), (0, 4)]),
    "peroxide": ("HOOH", [(0, 1), (1, 2), (2, 3)]),
    "butane": ("CCCC", [(0, 1), (1, 2), (2, 3)]),
    "neopentane": ("CCCCC", [(0, 1), (0, 2), (0, 3), (0, 4)]),
    "cyclohexane": ("CCCCCC", [(k, (k + 1) % 6) for k in range(6)]),
    "methylcyclobutane": ("CCCCC", [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4)]),
    "norbornane": ("CCCCCCC", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 6), (6, 3)]),
    "two waters": ("OHHOHH", [(0, 1), (0, 2), (3, 4), (3, 5)]),
    "ion pair": ("NHHHF", [(0, 1), (0, 2), (0, 3)]),
}


def topology(name):
    """mdtraj Topology of one of the MOLECULES, or of (elements, bonds)."""
    elements, bonds = MOLECULES[name] if isinstance(name, str) else name
    built = md.Topology()
    residue = built.add_residue("MOL", built.add_chain())
    atoms = [built.add_atom(f"{e}{k}", getattr(md.element, _ELEMENTS[e]), residue) for k, e in enumerate(elements)]
    for a, b in bonds:
        built.add_bond(atoms[a], atoms[b])
    return built


def random_positions(n, n_atoms, seed=0, dtype=torch.float64):
    """(n, n_atoms, 3) normal draws: any shape will do for coordinates, however strained."""
    return torch.as_tensor(np.random.default_rng(seed).normal(size=(n, n_atoms, 3))).to(dtype)
