"""The molecule as a graph of atoms and bonds."""

__all__ = ["component", "equal_branches", "is_rotatable", "neighbours", "reachable", "refined_colours"]


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


def is_rotatable(bonded, j, k):
    """Whether j–k is a bond, in no ring, with a further neighbour at both ends."""
    goes_on = len(bonded[j]) > 1 and len(bonded[k]) > 1
    return k in bonded[j] and goes_on and k not in reachable(bonded, j, k)


def component(bonded, start):
    """Atoms of the fragment that `start` belongs to."""
    return reachable(bonded, start, None)


def refined_colours(topology):
    """dict of atom → colour: the element, split by the colours of the neighbours until none splits any more."""
    bonded = neighbours(topology)
    colours, n = {a.index: getattr(a.element, "atomic_number", a.name) for a in topology.atoms}, 0
    while len(set(colours.values())) > n:
        n = len(set(colours.values()))
        colours = {i: hash((colours[i], tuple(sorted(hash(colours[j]) for j in bonded[i])))) for i in bonded}
    return colours


def equal_branches(bonded, colours, j, k):
    """Yield (end, other, branches) for the ends of the bond j–k whose other neighbours all have one colour."""
    for end, other in ((j, k), (k, j)):
        branches = sorted(bonded[end] - {other})
        if len({colours[i] for i in branches}) == 1:
            yield end, other, branches
