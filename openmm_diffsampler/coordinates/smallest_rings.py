"""The smallest rings of a molecule, found part by part."""

from collections.abc import Iterator
from heapq import heappop, heappush

import networkx

__all__ = ["ring_parts", "smallest_rings"]

#: Up to this many atoms a part is left to networkx. In larger ones, such as a peptide that a disulphide closes, a chain
#: counts as one edge of its length.
_SMALL = 40


def ring_parts(bonded: dict[int, set[int]]) -> Iterator[networkx.Graph]:
    """The parts of a molecule that hang together by more than one path; every ring lies within one of them.

    Arguments:
        bonded: dict of atom → set of the atoms bonded to it.

    Yields:
        networkx Graphs of atoms and bonds, each in the order of the molecule.

    Example:
        >>> [list(part) for part in ring_parts({0: {1, 2}, 1: {0, 2}, 2: {0, 1, 3}, 3: {2}})]
        [[0, 1, 2]]
    """
    graph = networkx.Graph([(a, b) for a in bonded for b in bonded[a]])
    for atoms in networkx.biconnected_components(graph):
        if len(atoms) > 2:
            yield networkx.Graph([(a, b) for a in bonded if a in atoms for b in bonded[a] if b in atoms])


def smallest_rings(part: networkx.Graph) -> list[set[int]]:
    """Atoms of each ring of a minimum cycle basis, the smallest set of rings that all others are made of.

    Arguments:
        part: one of :func:`ring_parts`.

    Example:
        >>> smallest_rings(networkx.Graph([(0, 1), (1, 2), (2, 0), (2, 3), (3, 0)]))
        [{0, 1, 2}, {0, 2, 3}]
    """
    if part.number_of_edges() == part.number_of_nodes():
        return [set(part)]
    if len(part) <= _SMALL:
        return [set(ring) for ring in networkx.minimum_cycle_basis(part)]
    return _rings_of_chains(list(_chains(part)))


def _chains(part: networkx.Graph) -> Iterator[list[int]]:
    """Paths between atoms where three bonds or more meet, with both ends."""
    forks = {a for a in part if part.degree(a) > 2}
    for a in part:
        if a not in forks:
            continue
        for b in part[a]:
            chain = [a, b]
            while chain[-1] not in forks:
                chain.append(next(c for c in part[chain[-1]] if c != chain[-2]))
            if chain[0] < chain[-1]:
                yield chain


def _rings_of_chains(chains: list[list[int]]) -> list[set[int]]:
    """A minimum cycle basis of the chains, each of which counts as long as it is.

    A set of chains is a number with a bit for each. Among the rings of a chain and the shortest paths from some fork to
    its ends is a minimum basis if no two paths are of one length, which a bit of its own in the length of each chain
    sees to. Gaussian elimination over the field of two elements takes the shortest independent ones.

    References:
        Horton, SIAM J. Comput. 16, 358 (1987).
    """
    n = len(chains)
    lengths = [(len(chain) - 1 << n) | 1 << k for k, chain in enumerate(chains)]
    at = {}
    for k, chain in enumerate(chains):
        at.setdefault(chain[0], []).append((chain[-1], k))
        at.setdefault(chain[-1], []).append((chain[0], k))
    candidates = set()
    for fork in at:
        paths = _shortest_paths(fork, at, lengths)
        for k, chain in enumerate(chains):
            there, back = paths[chain[0]], paths[chain[-1]]
            if not there & back and not (there | back) >> k & 1:
                ring = there | back | 1 << k
                candidates.add((sum(lengths[i] for i in range(n) if ring >> i & 1), ring))
    pivots, rings = {}, []
    for _, ring in sorted(candidates):
        left = ring
        while left and left.bit_length() in pivots:
            left ^= pivots[left.bit_length()]
        if left:
            pivots[left.bit_length()] = left
            rings.append({a for i in range(n) if ring >> i & 1 for a in chains[i]})
    return rings


def _shortest_paths(fork: int, at: dict[int, list[tuple[int, int]]], lengths: list[int]) -> dict[int, int]:
    """Of each fork, the set of chains on the shortest path from `fork`, as a number."""
    paths, waiting = {}, [(0, fork, 0)]
    while waiting:
        length, here, path = heappop(waiting)
        if here not in paths:
            paths[here] = path
            for there, k in at[here]:
                heappush(waiting, (length + lengths[k], there, path | 1 << k))
    return paths
