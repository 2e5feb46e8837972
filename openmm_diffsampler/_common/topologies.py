"""Topologies as plain entries of a JSON file: every atom, residue, chain and bond, whatever its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import app, unit

from .quoting import shown

if TYPE_CHECKING:
    import mdtraj

__all__ = ["mdtraj_topology", "openmm_topology", "topology_entries"]

_FORMAT = 1
#: Of atoms: far above what fits into memory as a trajectory.
_MOST = 100_000_000
_LONGEST_NAME = 1000
#: Columns and what is in them, one list a column.
_COLUMNS = {
    "chains": {"id": str},
    "residues": {"chain": int, "name": str, "id": str, "insertion code": str, "segment": str},
    "atoms": {"residue": int, "name": str, "element": str, "id": str, "charge": int},
    "bonds": {"first": int, "second": int, "type": str, "order": int},
}
_BOND_TYPES = ("Single", "Double", "Triple", "Aromatic", "Amide")


def topology_entries(topology: app.Topology | mdtraj.Topology) -> dict[str, Any]:
    """Everything in a topology as text and whole numbers, in columns; a unit cell without volume counts as none.

    Arguments:
        topology: of openmm.app or mdtraj.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> topology = load_system("alanine-dipeptide").topology
        >>> entries = topology_entries(topology)
        >>> entries["atoms"]["name"][:3], len(entries["bonds"]["first"])
        (['H1', 'CH3', 'H2'], 21)
        >>> topology_entries(openmm_topology(entries)) == topology_entries(mdtraj_topology(entries)) == entries
        True
    """
    return _of_openmm(topology) if isinstance(topology, app.Topology) else _of_mdtraj(topology)


def _table(name: str, rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    columns = zip(*rows, strict=True) if rows else ([] for _ in _COLUMNS[name])
    return dict(zip(_COLUMNS[name], map(list, columns), strict=True))


def _of_openmm(topology: app.Topology) -> dict[str, Any]:
    chains, residues, atoms = list(topology.chains()), list(topology.residues()), list(topology.atoms())
    bonds = [_bond(b) for b in topology.bonds()]
    return {
        "format": _FORMAT,
        "chains": _table("chains", [(str(c.id),) for c in chains]),
        "residues": _table("residues", [_residue(r.chain.index, r.name, r.id, r.insertionCode, "") for r in residues]),
        "atoms": _table("atoms", [_atom(a, str(a.id), getattr(a, "formalCharge", None)) for a in atoms]),
        "bonds": _table("bonds", bonds),
        "box": _box(topology.getPeriodicBoxVectors()),
    }


def _of_mdtraj(topology: mdtraj.Topology) -> dict[str, Any]:
    chains, residues, atoms = list(topology.chains), list(topology.residues), list(topology.atoms)
    residue_rows = [_residue(r.chain.index, r.name, r.resSeq, "", r.segment_id) for r in residues]
    bonds = [_bond(b) for b in topology.bonds]
    ids = [str(i + 1) if a.serial is None else str(a.serial) for i, a in enumerate(atoms)]
    return {
        "format": _FORMAT,
        "chains": _table("chains", [(str(getattr(c, "chain_id", None) or ""),) for c in chains]),
        "residues": _table("residues", residue_rows),
        "atoms": _table("atoms", [_atom(a, serial, a.formal_charge) for a, serial in zip(atoms, ids, strict=True)]),
        "bonds": _table("bonds", bonds),
        "box": None,
    }


def _residue(chain: int, name: str, number: object, insertion_code: str, segment: str) -> tuple[Any, ...]:
    return chain, name, str(number), (insertion_code or "").strip(), segment or ""


def _atom(atom: Any, serial: str, charge: int | None) -> tuple[Any, ...]:
    return atom.residue.index, atom.name, _symbol(atom.element), serial, None if charge is None else int(charge)


def _bond(bond: Any) -> tuple[Any, ...]:
    first, second = sorted((bond[0].index, bond[1].index))
    return first, second, str(bond.type or ""), int(bond.order or 0)


def _symbol(element: Any) -> str:
    """Nothing for what has no element, such as a virtual site."""
    symbol = getattr(element, "symbol", None) or ""
    return "" if symbol == "VS" else symbol


def _box(vectors: Any) -> list[list[float]] | None:
    if vectors is None:
        return None
    numbers = np.array(vectors.value_in_unit(unit.nanometer), dtype=float)
    return numbers.tolist() if np.isfinite(numbers).all() and abs(np.linalg.det(numbers)) > 0 else None


def openmm_topology(entries: Mapping[str, Any]) -> app.Topology:
    """The openmm.app Topology of entries that :func:`topology_entries` made.

    Raises:
        ValueError: they are no such entries.
    """
    tables = _checked(entries)
    topology = app.Topology()
    chains = [topology.addChain(name) for (name,) in tables["chains"]]
    residues = [topology.addResidue(name, chains[c], number, code) for c, name, number, code, _ in tables["residues"]]
    elements = {symbol: app.Element.getBySymbol(symbol) for _, _, symbol, *_ in tables["atoms"] if symbol}
    atoms = []
    for residue, name, symbol, serial, charge in tables["atoms"]:
        # Early versions of OpenMM know no formal charges.
        given = {} if charge is None else {"formalCharge": charge}
        atoms.append(topology.addAtom(name, elements.get(symbol), residues[residue], serial, **given))
    kinds = {kind: getattr(app.topology, kind) for kind in _BOND_TYPES}
    for a, b, kind, order in tables["bonds"]:
        topology.addBond(atoms[a], atoms[b], kinds.get(kind), order or None)
    if entries["box"] is not None:
        topology.setPeriodicBoxVectors(np.array(entries["box"], dtype=float) * unit.nanometer)
    return topology


def mdtraj_topology(entries: Mapping[str, Any]) -> mdtraj.Topology:
    """The mdtraj Topology of entries that :func:`topology_entries` made.

    A residue whose number is no number, as others count them, is counted on by mdtraj.

    Raises:
        ValueError: they are no such entries.
    """
    import mdtraj
    from mdtraj.core import element
    from mdtraj.core import topology as of_mdtraj

    tables = _checked(entries)
    topology = mdtraj.Topology()
    chains = [topology.add_chain(name or None) for (name,) in tables["chains"]]
    residues = [
        topology.add_residue(name, chains[c], resSeq=_number(number), segment_id=segment)
        for c, name, number, _, segment in tables["residues"]
    ]
    elements = {symbol: element.get_by_symbol(symbol) for _, _, symbol, *_ in tables["atoms"] if symbol}
    atoms = [
        topology.add_atom(n, elements.get(symbol, element.virtual), residues[r], serial=_number(i), formal_charge=q)
        for r, n, symbol, i, q in tables["atoms"]
    ]
    kinds = {kind: getattr(of_mdtraj, kind) for kind in _BOND_TYPES}
    for a, b, kind, order in tables["bonds"]:
        topology.add_bond(atoms[a], atoms[b], kinds.get(kind), order or None)
    return topology


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _checked(entries: Mapping[str, Any]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows of each table, once everything in them is what it must be."""
    if not isinstance(entries, Mapping) or set(entries) != {"format", "box", *_COLUMNS}:
        found = list(entries) if isinstance(entries, Mapping) else entries
        raise ValueError(f"the topology has entries {shown(found)}; expected are format, box and {[*_COLUMNS]}")
    if entries["format"] != _FORMAT:
        raise ValueError(f"the topology has format {shown(entries['format'])}; this version reads format {_FORMAT}")
    tables = {name: _rows(name, entries[name]) for name in _COLUMNS}
    counts = {name: len(rows) for name, rows in tables.items()}
    _require_indices("residues", [r[0] for r in tables["residues"]], counts["chains"])
    _require_indices("atoms", [a[0] for a in tables["atoms"]], counts["residues"])
    _require_indices("bonds", [i for b in tables["bonds"] for i in b[:2]], counts["atoms"])
    # A class of either package numbers atoms residue by residue.
    for name in ("residues", "atoms"):
        owners = [row[0] for row in tables[name]]
        if owners != sorted(owners):
            raise ValueError(f"the {name} of the topology are not in the order of what holds them")
    for _, _, symbol, *_ in tables["atoms"]:
        if symbol and symbol not in _symbols():
            raise ValueError(f"the topology has an element {shown(symbol)}, which is none")
    for a, b, kind, order in tables["bonds"]:
        if a == b or not (kind == "" or kind in _BOND_TYPES) or not 0 <= order <= 4:
            raise ValueError(f"the topology has a bond {shown((a, b, kind, order))}, which is none")
    _require_box(entries["box"])
    return tables


def _symbols() -> set[str]:
    return {element.symbol for element in app.Element._elements_by_atomic_number.values()}


def _rows(name: str, table: Any) -> list[tuple[Any, ...]]:
    columns = _COLUMNS[name]
    if not isinstance(table, Mapping) or set(table) != set(columns):
        raise ValueError(f"the topology has {name}: {shown(table)}; expected are the columns {', '.join(columns)}")
    lengths = {len(table[c]) if isinstance(table[c], list) else -1 for c in columns}
    if len(lengths) != 1 or not 0 <= min(lengths) <= _MOST:
        raise ValueError(f"columns of {name} of the topology are no lists of one length")
    for column, kind in columns.items():
        for value in table[column]:
            is_absent = column == "charge" and value is None
            if not is_absent and (type(value) is not kind or (kind is str and len(value) > _LONGEST_NAME)):
                raise ValueError(f"the topology has {name} with {column} {shown(value)}, which is no {kind.__name__}")
    return list(zip(*(table[c] for c in columns), strict=True))


def _require_indices(what: str, indices: list[int], n: int) -> None:
    for index in indices:
        if not 0 <= index < n:
            raise ValueError(f"{what} of the topology refer to {shown(index)}, and there are {n}")


def _require_box(box: Any) -> None:
    if box is None:
        return
    is_matrix = isinstance(box, list) and len(box) == 3 and all(isinstance(row, list) and len(row) == 3 for row in box)
    numbers = [v for row in box for v in row] if is_matrix else []
    if not numbers or not all(type(v) in (int, float) and abs(v) < 1e6 for v in numbers):
        raise ValueError(f"the topology has box {shown(box)}; expected are three vectors in nm")
