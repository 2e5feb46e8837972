"""The molecule in a system's folder: ``topology.pdb``, ``topology.json`` and ``system.xml``, read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_diffsampler._common.quoting import shortened
from openmm_diffsampler._common.sealed_files import read_json
from openmm_diffsampler._common.topologies import openmm_topology

from .system_metadata import read_text
from .system_xml import UntrustedCodeError, system_from_xml

__all__ = ["read_molecule"]


def read_molecule(directory: str | Path, trust: bool = False) -> tuple[openmm.System, app.Topology, unit.Quantity]:
    """(System, Topology, positions) of a folder; positions a Quantity in nm, (n_atoms, 3), to 0.0001 nm.

    Arguments:
        directory: the folder.
        trust: run Python code that ``system.xml`` holds.

    Raises:
        FileNotFoundError: ``topology.pdb`` or ``system.xml`` is missing.
        UntrustedCodeError: ``system.xml`` holds code, and is not trusted.
        ValueError: a file is damaged, or their atom counts differ.
    """
    pdb, xml, own = (Path(directory) / name for name in ("topology.pdb", "system.xml", "topology.json"))
    topology, positions = _read_pdb(pdb)
    system = _read_xml(xml, trust)
    if own.exists():
        topology = _read_topology(own)
        if topology.getNumAtoms() != len(positions):
            raise ValueError(f"{pdb} has {len(positions)} atoms and {own} {topology.getNumAtoms()}; save both again")
    if system.getNumParticles() != len(positions):
        raise ValueError(
            f"{pdb} has {len(positions)} atoms and {xml} has {system.getNumParticles()} particles; save both again "
            f"from one script with save_system (atoms of one residue need different names in a PDB file)"
        )
    return system, topology, positions


def _read_pdb(file: Path) -> tuple[app.Topology, unit.Quantity]:
    read_text(file)
    try:
        pdb = app.PDBFile(str(file))
        positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    except Exception as error:  # openmm's parser raises whatever its indexing and conversions raise
        raise ValueError(
            f"{file} is not a PDB file that openmm can read ({type(error).__name__}: {shortened(error)}); write it "
            f"with save_system or openmm.app.PDBFile.writeFile"
        ) from error
    if not np.isfinite(positions).all():
        raise ValueError(f"{file} has NaN or infinite coordinates; write it again from valid positions")
    return pdb.topology, unit.Quantity(np.asarray(positions, dtype=np.float64), unit.nanometer)


def _read_topology(file: Path) -> app.Topology:
    try:
        return openmm_topology(read_json(file))
    except ValueError as error:
        about = "" if str(file) in str(error) else f"{file}: "
        raise ValueError(f"{about}{error}") from None


def _read_xml(file: Path, trust: bool) -> openmm.System:
    try:
        return system_from_xml(read_text(file), trust)
    except UntrustedCodeError as error:
        raise UntrustedCodeError(f"{file} {error}") from None
    except ValueError as error:
        if str(file) in str(error):
            raise
        raise ValueError(f"{file} {error}; write it with save_system or openmm.XmlSerializer.serialize") from error
