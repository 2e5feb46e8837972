"""Molecules in a folder: AMBER files with a start beside them, or folders that load_system reads."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import mdtraj
import openmm
import torch
from openmm import app, unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.targets import MolecularSystem

#: Of AMBER files, which have none; folders of systems have their own.
TEMPERATURE = 300.0  # K
#: Name → OpenMM's object.
SOLVENTS = {"vacuum": None, "obc2": app.OBC2, "obc1": app.OBC1, "gbn2": app.GBn2, "hct": app.HCT}
#: Starts are minimised so many iterations: AMBER's files may hold strained ones.
_N_ITERATIONS = 1000


class Molecule(NamedTuple):
    """A molecule with its density and a start (n_atoms, 3) in nm."""

    name: str
    system: MolecularSystem
    target: OpenMMTarget
    x: torch.Tensor

    @property
    def topology(self) -> mdtraj.Topology:
        """Of its atoms."""
        return self.system.mdtraj_topology


def find_molecules(folder: Path, pattern: str = "") -> dict[str, Path]:
    """Name → AMBER topology file or folder of a system, of all below `folder` whose name matches, in order of names.

    Raises:
        FileNotFoundError: there is none.
    """
    files = [file for file in Path(folder).rglob("*.prmtop") if _start_of(file).exists()]
    folders = [file.parent for file in Path(folder).rglob("system.yaml")]
    found = {path.stem if path.is_file() else path.name: path for path in sorted(files + folders)}
    found = {name: path for name, path in sorted(found.items()) if re.search(pattern, name)}
    if not found:
        raise FileNotFoundError(f"{folder} has no molecule whose name matches {pattern!r}")
    return found


def read_molecule(name: str, path: Path, solvent: str = "obc2", temperature: float = TEMPERATURE) -> Molecule:
    """A molecule at its minimum near the start; `solvent` (one of ``SOLVENTS``) and kelvins are for AMBER files."""
    system = _amber(name, path, SOLVENTS[solvent], temperature) if path.is_file() else load_system(path)
    context = openmm.Context(
        system.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(system.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_N_ITERATIONS)
    positions = context.getState(positions=True).getPositions(asNumpy=True)
    x = torch.as_tensor(positions.value_in_unit(unit.nanometer))
    return Molecule(name, system, system.target(), x)


def _amber(name: str, path: Path, solvent: object, temperature: float) -> MolecularSystem:
    parameters = app.AmberPrmtopFile(str(path))
    system = parameters.createSystem(
        nonbondedMethod=app.NoCutoff,
        constraints=None,
        rigidWater=False,
        removeCMMotion=False,
        implicitSolvent=solvent,
    )
    start = app.AmberInpcrdFile(str(_start_of(path))).positions
    return MolecularSystem(name, system, parameters.topology, start, temperature * unit.kelvin)


def _start_of(file: Path) -> Path:
    return next((f for f in map(file.with_suffix, (".inpcrd", ".rst7")) if f.exists()), file.with_suffix(".inpcrd"))


def experiments(folder: Path) -> dict[str, tuple[float, float]]:
    """Name → (free energy of hydration, its error) in kcal/mol, of the file index.tsv in or below the folder."""
    found = {}
    for file in Path(folder).rglob("index.tsv"):
        with file.open(encoding="utf-8") as lines:
            for row in list(csv.reader(lines, delimiter="\t"))[1:]:
                found[row[0]] = float(row[2]), float(row[3])
    return found
