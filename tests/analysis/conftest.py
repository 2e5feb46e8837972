"""Small molecules and trajectories that need no files."""

import mdtraj as md
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import WeightedTrajectory

#: Atoms of alanine dipeptide as (residue, atom name, element), in the order of the force field's template.
_ATOMS = [
    ("ACE", "H1", "H"), ("ACE", "CH3", "C"), ("ACE", "H2", "H"), ("ACE", "H3", "H"), ("ACE", "C", "C"),
    ("ACE", "O", "O"),
    ("ALA", "N", "N"), ("ALA", "H", "H"), ("ALA", "CA", "C"), ("ALA", "HA", "H"), ("ALA", "CB", "C"),
    ("ALA", "HB1", "H"),
    ("ALA", "HB2", "H"), ("ALA", "HB3", "H"), ("ALA", "C", "C"), ("ALA", "O", "O"),
    ("NME", "N", "N"), ("NME", "H", "H"), ("NME", "C", "C"), ("NME", "H1", "H"), ("NME", "H2", "H"), ("NME", "H3", "H"),
]  # fmt: skip
_BONDS = [
    (0, 1), (1, 2), (1, 3), (1, 4), (4, 5), (4, 6), (6, 7), (6, 8), (8, 9), (8, 10), (10, 11), (10, 12), (10, 13),
    (8, 14),
    (14, 15), (14, 16), (16, 17), (16, 18), (18, 19), (18, 20), (18, 21),
]  # fmt: skip
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)


@pytest.fixture(scope="session")
def dipeptide():
    topology = md.Topology()
    chain = topology.add_chain()
    residues = {name: topology.add_residue(name, chain, resSeq=i) for i, name in enumerate(("ACE", "ALA", "NME"), 1)}
    atoms = [topology.add_atom(name, md.element.get_by_symbol(symbol), residues[r]) for r, name, symbol in _ATOMS]
    for i, j in _BONDS:
        topology.add_bond(atoms[i], atoms[j])
    return topology


def _place(a, b, c, torsion):
    """Positions (n, 3) at 0.15 nm from c, 110 degrees from b, at the given torsion about b-c from a."""
    bond = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
    normal = np.cross(b - a, bond)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    third = np.cross(normal, bond)
    angle = np.radians(110)
    in_plane = np.cos(torsion)[:, None] * third + np.sin(torsion)[:, None] * normal
    return c + 0.15 * (-np.cos(angle) * bond + np.sin(angle) * in_plane)


@pytest.fixture(scope="session")
def with_torsions():
    """Function of (phi, psi) in degrees -> (n, 22, 3) coordinates with these torsions; other atoms are noise."""

    def build(phi, psi, seed=0):
        phi, psi = np.radians(phi), np.radians(psi)
        x = np.random.default_rng(seed).normal(scale=0.3, size=(len(phi), 22, 3))
        a, b, c, d = PHI
        x[:, a], x[:, b], x[:, c] = (0.1, 0.1, 0), (0, 0, 0), (0.15, 0, 0)
        x[:, d] = _place(x[:, a], x[:, b], x[:, c], phi)
        x[:, PSI[3]] = _place(x[:, PSI[0]], x[:, PSI[1]], x[:, PSI[2]], psi)
        return torch.as_tensor(x, dtype=torch.float32)

    return build


@pytest.fixture
def weighted_dipeptide(dipeptide, with_torsions):
    """Forty importance samples with all fields."""
    rng = np.random.default_rng(1)
    u, log_q = rng.normal(size=(2, 40))
    return WeightedTrajectory(
        with_torsions(*rng.uniform(-180, 180, size=(2, 40))),
        -u - log_q,
        kind="importance",
        topology=dipeptide,
        reduced_potential=u,
        log_q=log_q,
        temperature=300 * unit.kelvin,
    )


@pytest.fixture
def dipeptide_chains(dipeptide, with_torsions):
    """Six chains of fifty draws, with energies."""
    rng = np.random.default_rng(2)
    x = with_torsions(*rng.uniform(-180, 180, size=(2, 300)))
    u = torch.as_tensor(rng.normal(size=(50, 6)))
    return WeightedTrajectory.from_chains(
        x.reshape(50, 6, 22, 3), topology=dipeptide, reduced_potential=u, temperature=300 * unit.kelvin
    )


@pytest.fixture
def gaussian():
    """Function of (n, seed) -> importance samples of exp(-x^2/2), Z = sqrt(2 pi), from a normal of width 1.5."""

    def build(n, seed):
        x = 1.5 * torch.randn(n, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        u = x[:, 0] ** 2 / 2
        log_q = -0.5 * (x[:, 0] / 1.5) ** 2 - np.log(1.5 * np.sqrt(2 * np.pi))
        return WeightedTrajectory(x, -u - log_q, kind="importance", reduced_potential=u, log_q=log_q)

    return build


@pytest.fixture
def ar1():
    """Function of (rho, n_draws, n_chains, seed) -> stationary AR(1) chains (n_draws, n_chains) of unit variance."""

    def build(rho, n_draws, n_chains, seed):
        noise = np.random.default_rng(seed).normal(size=(n_draws, n_chains))
        x = noise.copy()
        for t in range(1, n_draws):
            x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * noise[t]
        return x

    return build


@pytest.fixture(scope="session")
def markov():
    """Function of (rng, p, stay, n_draws, n_chains) -> states (n_draws, n_chains), drawn anew from p or kept."""

    def build(rng, p, stay, n_draws, n_chains):
        fresh = rng.choice(len(p), size=(n_draws, n_chains), p=p)
        states = fresh.copy()
        kept = rng.random((n_draws, n_chains)) < stay
        for t in range(1, n_draws):
            states[t] = np.where(kept[t], states[t - 1], fresh[t])
        return states

    return build
