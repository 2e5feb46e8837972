"""Conformers by RDKit's distance geometry, with the atoms and the stereochemistry of given positions."""

from __future__ import annotations

import random
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from openmm import app

from .graph import neighbours
from .handedness import Handedness, signed_volumes

if TYPE_CHECKING:
    import mdtraj

__all__ = ["rdkit_conformers", "rdkit_molecule"]

#: Total charges that are tried, in elementary charges, one after another.
_CHARGES = (0, 1, -1, 2, -2, 3, -3)
#: Assignments of bond orders that RDKit tries for one charge.
_MOST_ASSIGNMENTS = 20_000
#: Above the seeds of RDKit, whose products with numbers of conformers are 32 bits long.
_HIGHEST_SEED = 2**20
#: Å in a nm.
_ANGSTROM = 10.0


def rdkit_conformers(
    topology: mdtraj.Topology | app.Topology, positions: torch.Tensor | np.ndarray, n: int = 100, seed: int = 0
) -> torch.Tensor:
    """Conformers embedded by RDKit's ETKDGv3, not minimised; what cannot have the stereochemistry is left out.

    Stereocentres and double bonds are as in `positions`, and equal neighbours of an atom, such as the hydrogens of CH₂,
    have the same order around it. A mirror image counts where only that is on the right hand. Amides are both cis and
    trans. Orders of bonds are guessed, since topologies of force fields have none; if no total charge makes sense of
    them, all bonds are taken as single, with a warning.

    Arguments:
        topology: of mdtraj or openmm.app, with bonds.
        positions: (n_atoms, 3), nm.
        n: how many are embedded; fewer come back where some fail.
        seed: of the embedding.

    Returns:
        (m, n_atoms, 3) tensor in nm, double precision, m ≤ n; empty where nothing can be embedded.

    Raises:
        ImportError: RDKit is not installed.
        ValueError: no bonds, atoms without element, flat stereocentres, n below one.

    References:
        Riniker & Landrum, J. Chem. Inf. Model. 55 (2015); Wang et al., J. Chem. Inf. Model. 60 (2020).

    Example:
        >>> import pytest
        >>> _ = pytest.importorskip("rdkit")
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> rdkit_conformers(molecule.mdtraj_topology, molecule.positions._value, n=3).shape
        torch.Size([3, 22, 3])
    """
    if n < 1:
        raise ValueError(f"n is {n}; it must be at least 1")
    _chem()
    from rdkit.Chem import rdDistGeom

    if isinstance(topology, app.Topology):
        import mdtraj

        topology = mdtraj.Topology.from_openmm(topology)
    x = torch.as_tensor(np.asarray(positions), dtype=torch.float64)
    molecule = rdkit_molecule(topology, x)
    options = rdDistGeom.ETKDGv3()
    # RDKit multiplies it by the number of the conformer: zero would embed one n times, neighbours share many.
    options.randomSeed = random.Random(seed).randrange(1, _HIGHEST_SEED)
    options.forceTransAmides = False
    options.useSmallRingTorsions = True
    options.numThreads = 1
    ids = list(rdDistGeom.EmbedMultipleConfs(molecule, n, options))
    if not ids:  # cages and crowded rings
        options.useRandomCoords = True
        ids = list(rdDistGeom.EmbedMultipleConfs(molecule, n, options))
    found = [torch.as_tensor(molecule.GetConformer(i).GetPositions()) / _ANGSTROM for i in ids]
    return _on_the_same_hand(topology, x, torch.stack(found)) if found else x.new_empty((0, *x.shape))


def _on_the_same_hand(topology: mdtraj.Topology, x: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Those of `found`, or their mirror images, with the stereocentres of x and the same order of equal neighbours."""
    handedness = Handedness(topology, x)
    mirrored = found * torch.tensor([1.0, 1.0, -1.0])
    tagged, swapped = _centres(topology)
    # The image with the order of equal branches, of which stereocentres do not know.
    alike = (signed_volumes(found, tagged) * signed_volumes(x[None], tagged) > 0).sum(1)
    as_embedded = (2 * alike >= len(tagged))[:, None, None]
    images = torch.where(as_embedded, found, mirrored), torch.where(as_embedded, mirrored, found)
    kept = [handedness.is_kept(image) for image in images]
    found = torch.where(kept[0][:, None, None], *images)[kept[0] | kept[1]]
    for centre, a, b, c in swapped.tolist():
        row = torch.tensor([[centre, a, b, c]])
        wrong = signed_volumes(found, row)[:, 0] * signed_volumes(x[None], row)[0, 0] < 0
        found[wrong, a], found[wrong, b] = found[wrong, b], found[wrong, a]
    return found


def _centres(topology: mdtraj.Topology) -> tuple[torch.Tensor, torch.Tensor]:
    """Atoms with four neighbours and three of these: (m, 4) of those without and with two equal atoms at the end.

    Of the latter, the first two neighbours are such atoms.
    """
    bonded, elements = neighbours(topology), {a.index: a.element for a in topology.atoms}
    tagged, swapped = [], []
    for centre, around in sorted(bonded.items()):
        if len(around) != 4:
            continue
        ends = [a for a in sorted(around) if len(bonded[a]) == 1]
        pairs = [(a, b) for a in ends for b in ends if a < b and elements[a] == elements[b]]
        if pairs:
            swapped.append((centre, *pairs[0], min(around - set(pairs[0]))))
        else:
            tagged.append((centre, *sorted(around)[:3]))
    return tuple(torch.tensor(rows, dtype=torch.int64).reshape(-1, 4) for rows in (tagged, swapped))


def rdkit_molecule(topology: mdtraj.Topology, positions: torch.Tensor) -> Any:
    """An RDKit molecule with guessed bond orders, one conformer and its stereochemistry.

    Arguments:
        topology, positions: as of :func:`rdkit_conformers`; positions (n_atoms, 3) in nm.

    Raises:
        ImportError, ValueError: as of :func:`rdkit_conformers`.
    """
    Chem = _chem()
    if not topology.n_bonds:
        raise ValueError("the topology has no bonds, which conformers are embedded from")
    bare = Chem.RWMol()
    for atom in topology.atoms:
        number = getattr(atom.element, "atomic_number", 0)
        if not number:
            raise ValueError(f"atom {atom} has no element, and RDKit needs one")
        made = Chem.Atom(number)
        made.SetNoImplicit(True)
        bare.AddAtom(made)
    for a, b in sorted({tuple(sorted((a.index, b.index))) for a, b in topology.bonds}):
        bare.AddBond(a, b, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(topology.n_atoms)
    conformer.SetPositions(np.ascontiguousarray(positions.cpu().numpy(), dtype=np.float64) * _ANGSTROM)
    bare.AddConformer(conformer)
    molecule = _with_orders(bare)
    Chem.AssignStereochemistryFrom3D(molecule, replaceExistingTags=True)
    # Tags on what RDKit does not take for a stereocentre, such as the ends of an isopropyl group, keep equal branches
    # in their order. On every CH₂ they would make the embedding of rings slow; those hydrogens are swapped afterwards.
    for row in _centres(topology)[0].tolist():
        atom = molecule.GetAtomWithIdx(row[0])
        if atom.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED:
            atom.SetChiralTag(_tag(Chem, atom, positions))
    return molecule


def _tag(Chem: ModuleType, atom: Any, positions: torch.Tensor) -> Any:  # noqa: N803
    """Which way the second to fourth neighbour, in the order of bonds, turn as seen from the first."""
    around = [other.GetIdx() for other in atom.GetNeighbors()]
    volume = signed_volumes(positions[None], torch.tensor([[atom.GetIdx(), *around[1:]]]))
    return Chem.ChiralType.CHI_TETRAHEDRAL_CCW if volume < 0 else Chem.ChiralType.CHI_TETRAHEDRAL_CW


def _with_orders(bare: Any) -> Any:
    """The molecule with bond orders of the first total charge that makes sense, or with single bonds."""
    Chem = _chem()
    from rdkit import RDLogger
    from rdkit.Chem import rdDetermineBonds

    n_electrons = sum(atom.GetAtomicNum() for atom in bare.GetAtoms())
    RDLogger.DisableLog("rdApp.*")
    try:
        for charge in _CHARGES:
            if (n_electrons - charge) % 2:
                continue
            molecule = Chem.Mol(bare)
            try:
                rdDetermineBonds.DetermineBondOrders(
                    molecule, charge=charge, embedChiral=False, maxIterations=_MOST_ASSIGNMENTS
                )
                Chem.SanitizeMol(molecule)
            except (ValueError, RuntimeError):
                continue
            if not any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
                return molecule
    finally:
        RDLogger.EnableLog("rdApp.*")
    warnings.warn(
        "no total charge makes sense of the bonds, so that RDKit takes all of them as single; its conformers are poor",
        stacklevel=4,
    )
    molecule = Chem.Mol(bare)
    molecule.UpdatePropertyCache(strict=False)
    Chem.SanitizeMol(molecule, Chem.SanitizeFlags.SANITIZE_SYMMRINGS)
    return molecule


def _chem() -> ModuleType:
    try:
        from rdkit import Chem
    except ImportError as error:
        raise ImportError("conformers of distance geometry need RDKit: pip install openmm_diffsampler[chem]") from error
    return Chem
