"""The molecule as a graph of atoms and bonds."""

__all__ = ["component", "neighbours", "reachable"]


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


def component(bonded, start):
    """Atoms of the fragment that `start` belongs to."""
    return reachable(bonded, start, None)
