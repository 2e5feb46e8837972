"""Topologies with names that the columns of a PDB file have room for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mdtraj

__all__ = ["fitting_topology", "ordered_topology"]

#: Numbers in CONECT records have five digits, and lines that end chains count as well.
_MOST_BONDED = 99_000
_MOST_RESIDUES = 10_000
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def ordered_topology(topology: mdtraj.Topology) -> mdtraj.Topology:
    """The topology, or a copy with more residues if atoms were added to one after they were to the next."""
    indices = [atom.index for atom in topology.atoms]
    return topology if indices == sorted(indices) else _copy(topology, is_exact=True)


def fitting_topology(topology: mdtraj.Topology) -> mdtraj.Topology:
    """The topology as it is, or a copy with short, different names if a PDB file cannot tell them.

    Only names are replaced that do not fit; bonds are left out where atoms are too many to be numbered.

    Arguments:
        topology: of mdtraj, in order.
    """
    fits = topology.n_atoms < _MOST_BONDED and all(_chain_fits(c) for c in topology.chains)
    return topology if fits and all(_residue_fits(r) for r in topology.residues) else _copy(topology, is_exact=False)


def _copy(topology: mdtraj.Topology, is_exact: bool) -> mdtraj.Topology:
    import mdtraj

    copy, chain, residue, old = mdtraj.Topology(), None, None, None
    names: Iterator[str] | None = None
    # In the order of the coordinates, which that of residues need not be.
    for atom in sorted(topology.atoms, key=lambda atom: atom.index):
        if chain is None or atom.residue.chain is not old.chain:
            label = atom.residue.chain.chain_id
            chain = copy.add_chain(label if is_exact or _chain_fits(atom.residue.chain) else None)
            old = None
        if atom.residue is not old:
            old = atom.residue
            segment = old.segment_id if is_exact or _fits(old.segment_id or "", 0, 4) else ""
            number = old.resSeq if is_exact else old.resSeq % _MOST_RESIDUES
            residue = copy.add_residue(_residue_name(old, is_exact), chain, number, segment)
            names = None if is_exact or _names_fit(old) else _short_names()
        name = atom.name if names is None else next(names)
        charge = atom.formal_charge if is_exact or _charge_fits(atom) else None
        copy.add_atom(name, atom.element, residue, atom.serial if is_exact else None, formal_charge=charge)
    if is_exact or topology.n_atoms < _MOST_BONDED:
        atoms = list(copy.atoms)
        for bond in topology.bonds:
            copy.add_bond(atoms[bond[0].index], atoms[bond[1].index], bond.type, bond.order)
    return copy


def _residue_name(residue: mdtraj.core.topology.Residue, is_exact: bool) -> str:
    if is_exact or _fits(residue.name, 1, 3):
        return residue.name
    return residue.name[:3] if _fits(residue.name[:3], 1, 3) else "UNK"


def _residue_fits(residue: mdtraj.core.topology.Residue) -> bool:
    return (
        _names_fit(residue)
        and _fits(residue.name, 1, 3)
        and _fits(residue.segment_id or "", 0, 4)
        and 0 <= residue.resSeq < _MOST_RESIDUES
        and all(_charge_fits(atom) for atom in residue.atoms)
    )


def _names_fit(residue: mdtraj.core.topology.Residue) -> bool:
    names = [atom.name for atom in residue.atoms]
    return len(set(names)) == len(names) and all(_fits(name, 1, 4) for name in names)


def _chain_fits(chain: mdtraj.core.topology.Chain) -> bool:
    return _fits(chain.chain_id or "", 0, 1)


def _charge_fits(atom: mdtraj.core.topology.Atom) -> bool:
    return abs(atom.formal_charge or 0) < 10


def _fits(name: str, shortest: int, longest: int) -> bool:
    """Whether a name has room in its columns, in letters that any program reads."""
    return shortest <= len(name) <= longest and all("!" <= c <= "~" and c not in '"#;' for c in name)


def _short_names() -> Iterator[str]:
    """Z000, Z001, …, and over again after 1.2 million of them."""
    while True:
        for a in "ZYXWVUTSRQPONMLKJIHGFEDCBA":
            for b in _LETTERS:
                for c in _LETTERS:
                    for d in _LETTERS:
                        yield a + b + c + d
