"""The molecule as a graph of atoms and bonds."""

__all__ = [
    "beyond_bridges",
    "component",
    "equal_branches",
    "is_rotatable",
    "neighbours",
    "reachable",
    "refined_colours",
]


def neighbours(topology):
    """dict of atom index → set of the atoms bonded to it, of an mdtraj Topology."""
    found = {atom.index: set() for atom in topology.atoms}
    for a, b in topology.bonds:
        found[a.index].add(b.index)
        found[b.index].add(a.index)
    return found


def reachable(bonded, start, across):
    """Atoms that a path from `start` reaches without the bond start–across; `across` is among them in a ring."""
    seen, todo = {start}, [i for i in bonded[start] if i != across]
    while todo:
        i = todo.pop()
        if i not in seen:
            seen.add(i)
            todo.extend(bonded[i])
    return seen


def beyond_bridges(bonded: dict[int, set[int]]) -> dict[tuple[int, int], int]:
    """Bonds that are in no ring, each in both directions, in one walk over the molecule.

    Arguments:
        bonded: dict of atom → set of the atoms bonded to it.

    Returns:
        dict of (j, k) → how many atoms hang on j–k at the side of k, k itself counted.

    Example:
        >>> beyond_bridges({0: {1}, 1: {0, 2}, 2: {1}})
        {(1, 2): 1, (2, 1): 2, (0, 1): 2, (1, 0): 1}
    """
    found, entered = {}, {}
    for root in bonded:
        if root in entered:
            continue
        entered[root] = 0
        order, parent, earliest = [root], {root: None}, {root: 0}
        walk = [(root, iter(bonded[root]))]
        while walk:
            j, others = walk[-1]
            for k in others:
                if k not in entered:
                    entered[k] = earliest[k] = len(order)
                    parent[k] = j
                    order.append(k)
                    walk.append((k, iter(bonded[k])))
                    break
                if k != parent[j]:
                    earliest[j] = min(earliest[j], entered[k])
            else:
                walk.pop()
                if walk:
                    earliest[walk[-1][0]] = min(earliest[walk[-1][0]], earliest[j])
        beyond = dict.fromkeys(order, 1)
        for k in reversed(order[1:]):
            j = parent[k]
            beyond[j] += beyond[k]
            if earliest[k] == entered[k]:  # nothing beyond k leads back over j–k
                found[j, k], found[k, j] = beyond[k], len(order) - beyond[k]
    return found


def is_rotatable(bonded: dict[int, set[int]], bridges: dict[tuple[int, int], int], j: int, k: int) -> bool:
    """Whether j–k is a bond, in no ring (one of :func:`beyond_bridges`), with a further neighbour at both ends."""
    return (j, k) in bridges and len(bonded[j]) > 1 and len(bonded[k]) > 1


def component(bonded, start):
    """Atoms of the fragment that `start` belongs to."""
    return reachable(bonded, start, None)


def refined_colours(topology):
    """dict of atom → colour: the element, split by the colours of the neighbours until none splits any more.

    Colours are 0, 1, ... in an order that depends on the molecule alone.
    """
    bonded, n = neighbours(topology), 0
    elements = {a.index: getattr(a.element, "atomic_number", 0) for a in topology.atoms}
    colours = _ranked({a.index: (elements[a.index], "" if elements[a.index] else a.name) for a in topology.atoms})
    while len(set(colours.values())) > n:
        n = len(set(colours.values()))
        colours = _ranked({i: (colours[i], sorted(colours[j] for j in bonded[i])) for i in bonded})
    return colours


def _ranked(keys):
    """dict of atom → key, with each key's place among the different ones in its stead."""
    keys = {i: (first, tuple(rest)) for i, (first, rest) in keys.items()}
    ranks = {key: rank for rank, key in enumerate(sorted(set(keys.values())))}
    return {i: ranks[key] for i, key in keys.items()}


def equal_branches(bonded, colours, j, k):
    """Yield (end, other, branches) for the ends of the bond j–k whose other neighbours all have one colour."""
    for end, other in ((j, k), (k, j)):
        branches = sorted(bonded[end] - {other})
        if len({colours[i] for i in branches}) == 1:
            yield end, other, branches
