"""Which observables stand for a trajectory when none is named."""

import numpy as np

__all__ = ["default_observables", "rotatable_torsions"]


def default_observables(wt):
    """Slow observables by which the effective sample size of chains is judged; the smallest one counts.

    - ``"energy"``: the reduced potential in kT, where the trajectory has it;
    - a molecule with backbone torsions: cos and sin of every φ and ψ (``"cos phi"``, or ``"cos phi:2"`` of several);
    - another molecule with bonds: cos and sin of one torsion a rotatable bond (:func:`rotatable_torsions`);
    - other particles (event shape ``(n, 2)`` or ``(n, 3)``): the radius of gyration in nm;
    - densities without particles: every coordinate.

    Arguments:
        wt: a WeightedTrajectory.

    Returns:
        dict of name → (n_frames,) float64 array.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> list(default_observables(WeightedTrajectory.from_chains(torch.zeros(10, 4, 2))))
        ['coordinate 0', 'coordinate 1']
        >>> list(default_observables(WeightedTrajectory.from_chains(torch.zeros(10, 4, 13, 3))))
        ['radius of gyration']
    """
    energy = {} if wt.reduced_potential is None else {"energy": wt.reduced_potential.numpy()}
    torsions = {} if wt.topology is None else _torsions(wt.topology)
    if torsions:
        import mdtraj

        angles = mdtraj.compute_dihedrals(wt.trajectory, list(torsions.values()), periodic=False).astype(np.float64)
        both = {
            f"{f.__name__} {name}": f(angle)
            for name, angle in zip(torsions, angles.T, strict=True)
            for f in (np.cos, np.sin)
        }
        return both | energy
    x = wt.x.double().numpy()
    if x.ndim == 3 and x.shape[2] in (2, 3):
        centred = x - x.mean(1, keepdims=True)
        return {"radius of gyration": np.sqrt((centred**2).sum(2).mean(1))} | energy
    return {f"coordinate {i}": column for i, column in enumerate(x.reshape(len(x), -1).T)} | energy


def rotatable_torsions(topology):
    """One torsion (four atom indices) for each bond that is in no ring and has a further neighbour at both ends.

    The outer atoms are heavy where there is a choice, and the lowest indices among those.

    Arguments:
        topology: an mdtraj Topology with bonds.

    Returns:
        list of tuples of four atom indices.

    Example:
        >>> import mdtraj as md
        >>> top = md.Topology()
        >>> residue = top.add_residue("BUT", top.add_chain())
        >>> atoms = [top.add_atom(f"C{i}", md.element.carbon, residue) for i in range(4)]
        >>> for a, b in zip(atoms, atoms[1:]):
        ...     top.add_bond(a, b)
        >>> rotatable_torsions(top)
        [(0, 1, 2, 3)]
    """
    neighbours = {atom.index: set() for atom in topology.atoms}
    for a, b in topology.bonds:
        neighbours[a.index].add(b.index)
        neighbours[b.index].add(a.index)
    heavy = {atom.index for atom in topology.atoms if atom.element.atomic_number > 1}
    torsions = []
    for j, k in sorted({(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}):
        ends = [sorted(neighbours[p] - {q}, key=lambda i: (i not in heavy, i)) for p, q in ((j, k), (k, j))]
        if all(ends) and not _connected_without(neighbours, j, k):
            torsions.append((ends[0][0], j, k, ends[1][0]))
    return torsions


def _connected_without(neighbours, j, k):
    """Whether a path leads from j to k that does not use their bond: then the bond is in a ring."""
    seen, todo = {j}, [i for i in neighbours[j] if i != k]
    while todo:
        i = todo.pop()
        if i == k:
            return True
        if i not in seen:
            seen.add(i)
            todo.extend(neighbours[i])
    return False


def _torsions(topology):
    from mdtraj.geometry import dihedral

    named = {}
    for name, indices in (("phi", dihedral.indices_phi), ("psi", dihedral.indices_psi)):
        found = indices(topology)
        named |= {name if len(found) == 1 else f"{name}:{i}": tuple(row) for i, row in enumerate(found, 1)}
    return named or {"torsion " + "-".join(map(str, atoms)): atoms for atoms in rotatable_torsions(topology)}
