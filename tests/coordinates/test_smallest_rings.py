"""Rings found part by part are those of a minimum cycle basis of the whole molecule."""

import networkx
import pytest

from openmm_diffsampler.coordinates import saturated_rings, smallest_rings
from openmm_diffsampler.coordinates.graph import beyond_bridges, neighbours, reachable

from .molecules import MOLECULES, topology


def tangle(seed, n_atoms=60, n_rings=6):
    """A random tree with some more bonds, as dict of atom → neighbours."""
    graph = networkx.random_labeled_tree(n_atoms, seed=seed)
    pairs = networkx.gnm_random_graph(n_atoms, 10 * n_rings, seed=seed).edges
    graph.add_edges_from([pair for pair in pairs if pair not in graph.edges][:n_rings])
    return {a: set(graph[a]) for a in sorted(graph)}


def edges_of(bonded, atoms):
    return frozenset(frozenset((a, b)) for a in atoms for b in bonded[a] & atoms)


def rank(cycles):
    """Of sets of edges, over the field of two elements."""
    found = []
    for cycle in map(set, cycles):
        for pivot, known in found:
            if pivot in cycle:
                cycle ^= known
        if cycle:
            found.append((min(cycle, key=sorted), cycle))
    return len(found)


@pytest.mark.parametrize("small", [40, 0], ids=["as it is", "chains as edges"])
@pytest.mark.parametrize("seed", range(6))
def test_rings_are_a_minimum_cycle_basis(monkeypatch, seed, small):
    monkeypatch.setattr(smallest_rings, "_SMALL", small)
    bonded = tangle(seed)
    found = [r for part in smallest_rings.ring_parts(bonded) for r in smallest_rings.smallest_rings(part)]
    expected = networkx.minimum_cycle_basis(networkx.Graph([(a, b) for a in bonded for b in bonded[a]]))
    assert len(found) >= 6 and sorted(map(len, found)) == sorted(map(len, expected))
    assert all(len(bonded[a] & ring) == 2 for ring in found for a in ring)
    assert rank(edges_of(bonded, ring) for ring in found) == len(expected)


@pytest.mark.parametrize("small", [40, 0])
def test_two_chains_between_the_same_atoms_are_kept_apart(monkeypatch, small):
    """Norbornane and two rings that share a bond."""
    monkeypatch.setattr(smallest_rings, "_SMALL", small)
    fused = (0, [(k, (k + 1) % 6) for k in range(6)] + [(0, 6), (6, 7), (7, 8), (8, 1)])
    for bonds, sizes in ((MOLECULES["norbornane"][1], [5, 5]), (fused[1], [5, 6])):
        bonded = {a: {b for bond in bonds for b in bond if a in bond and a != b} for a in {a for b in bonds for a in b}}
        [part] = smallest_rings.ring_parts(bonded)
        assert sorted(map(len, smallest_rings.smallest_rings(part))) == sizes


def test_a_long_molecule_closed_by_one_bond_is_quick_to_search():
    """2,000 atoms in one ring with small rings along it, which a search of the whole graph takes minutes for."""
    starts = range(0, 400, 20)
    bonds = [(k, (k + 1) % 2000) for k in range(2000)] + [(k, k + 5) for k in starts]
    saturated = [k + n for k in starts for n in (1, 2, 3)]
    bonds += [(a, 2000 + 2 * n + side) for n, a in enumerate(saturated) for side in (0, 1)]
    rings = saturated_rings(topology(("C" * 2000 + "H" * 2 * len(saturated), bonds)))
    assert [r for r in rings if len(r) == 6] == [tuple(range(k, k + 6)) for k in starts]
    assert len(rings) == 20  # the large ring takes the short way past each small one, which has no saturated atom


@pytest.mark.parametrize("name", MOLECULES)
def test_bridges_are_the_bonds_without_which_the_molecule_falls_apart(name):
    bonded = neighbours(topology(name))
    expected = {}
    for j in bonded:
        for k in bonded[j]:
            beyond = reachable(bonded, k, j)
            if j not in beyond:
                expected[j, k] = len(beyond)
    assert beyond_bridges(bonded) == expected


@pytest.mark.parametrize("seed", range(4))
def test_bridges_of_tangled_molecules(seed):
    bonded = tangle(seed, n_rings=3)
    sides = {(j, k): reachable(bonded, k, j) for j in bonded for k in bonded[j]}
    assert beyond_bridges(bonded) == {jk: len(side) for jk, side in sides.items() if jk[0] not in side}
