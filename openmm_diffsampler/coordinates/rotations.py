"""Rigid rotations about the rotatable bonds of a molecule."""

import torch

from .graph import beyond_bridges, is_rotatable, neighbours, reachable

__all__ = ["BondRotations", "rotatable_torsions"]


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
    bonded = neighbours(topology)
    heavy = {atom.index for atom in topology.atoms if atom.element.atomic_number > 1}
    bridges, torsions = beyond_bridges(bonded), []
    for j, k in sorted({(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}):
        if is_rotatable(bonded, bridges, j, k):
            outer = [min(bonded[p] - {q}, key=lambda i: (i not in heavy, i)) for p, q in ((j, k), (k, j))]
            torsions.append((outer[0], j, k, outer[1]))
    return torsions


class BondRotations:
    r"""Rotations x → x' of everything on one side of a rotatable bond, which change one torsion and no bond or angle.

    The map has unit Jacobian. Atoms on the smaller side of the bond move.

    Arguments:
        topology: an mdtraj Topology with bonds.
        device: of the positions that will be rotated.

    Raises:
        ValueError: the molecule has no rotatable bond.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> rotations = BondRotations(load_system("alanine-dipeptide").mdtraj_topology)
        >>> len(rotations)
        7
    """

    def __init__(self, topology, device="cpu"):
        self.torsions = rotatable_torsions(topology)
        if not self.torsions:
            raise ValueError("the molecule has no rotatable bond (is the topology without bonds?)")
        bonded = neighbours(topology)
        beyond = beyond_bridges(bonded)
        ends = [(j, k) if beyond[j, k] <= beyond[k, j] else (k, j) for _, j, k, _ in self.torsions]
        sides = [(j, k, reachable(bonded, k, j)) for j, k in ends]
        self.axes = torch.tensor(ends, device=device)
        self.moving = torch.zeros(len(sides), topology.n_atoms, dtype=torch.bool, device=device)
        for row, (_, _, beyond) in zip(self.moving, sides, strict=True):
            row[sorted(beyond)] = True

    def __len__(self):
        return len(self.torsions)

    def rotate(self, x, bond, angle):
        """Turn bond number `bond` (n,) of each configuration in `x` (n, n_atoms, 3) by `angle` (n,) radians."""
        rows = torch.arange(len(x), device=x.device)
        fixed, pivot = (x[rows, self.axes[bond, end]].unsqueeze(1) for end in (0, 1))
        axis = torch.nn.functional.normalize(pivot - fixed, dim=-1)
        arm = x - pivot
        cosine, sine = angle.cos().reshape(-1, 1, 1), angle.sin().reshape(-1, 1, 1)
        along = (arm * axis).sum(-1, keepdim=True) * axis
        turned = pivot + along + cosine * (arm - along) + sine * torch.linalg.cross(axis.expand_as(arm), arm)
        return torch.where(self.moving[bond].unsqueeze(-1), turned, x)


def random_rotations(n, generator, like):
    """(n, 3, 3) uniform rotations, from unit quaternions."""
    q = torch.randn(n, 4, generator=generator, dtype=like.dtype, device=like.device)
    w, x, y, z = torch.nn.functional.normalize(q, dim=1).unbind(1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)
