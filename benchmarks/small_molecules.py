"""Small peptides, built by openmm.app alone, in folders for ``openmm-diffsampler run FOLDER`` and ``train FOLDER``.

    python benchmarks/small_molecules.py FOLDER [NAME ...] [--overwrite]

Writes FOLDER/NAME, by default for all: between an acetyl and an N-methyl amide, proline (a ring), serine (hydrogen
bonds), valine (a branched side chain) and two to five alanines. Amino acids are L, amides trans, all bonds flexible;
AMBER ff14SB with OBC2 as implicit water, serine in vacuum, where its hydrogen bonds are strongest. Prints a Markdown
table of what was written, read back.
"""

import argparse
import random
from itertools import pairwise
from pathlib import Path

import mdtraj
import numpy as np
import openmm
import torch
from openmm import app, unit

from openmm_diffsampler import load_system, save_system
from openmm_diffsampler.coordinates import rotatable_torsions, saturated_rings
from openmm_diffsampler.targets.build_systems import _from_internal_coordinates, _minimised

#: Amino acid → φ, ψ and rows of its side chain as of aspartame in build_systems: an atom, three others in the order of
#: their bonds, torsion, angle. Serine starts where both amide and hydroxyl hydrogens point at an oxygen.
RESIDUES = {
    "ALA": (-75, 145, ""),
    "PRO": (-70, 145, "CG CB CA N 30 104; CD N CA CB -5 110"),
    "SER": (-80, 70, "OG CB CA N 60 110"),
    "VAL": (-75, 145, "CG1 CB CA N -60 110; CG2 CB CA N 180 110"),
}

#: Bonds of RESIDUES that close a ring.
CLOSURES = {"PRO": ("CG", "CD")}

#: Name → amino acids between the caps, force-field files for the solvent, the solvent.
WATER = ("implicit/obc2.xml",), "implicit water (OBC2)"
MOLECULES = {
    "proline-dipeptide": (["PRO"], *WATER),
    "serine-dipeptide": (["SER"], (), "vacuum"),
    "valine-dipeptide": (["VAL"], *WATER),
} | {f"ala{n}": (["ALA"] * n, *WATER) for n in range(2, 6)}


def heavy_atoms(residues):
    """(openmm topology, positions in nm) of ACE-`residues`-NME without hydrogens; bond lengths are rough."""
    psi, rows = 0, ["CH3.0 - - - 0 0", "C.0 CH3.0 - - 0 0", "O.0 C.0 CH3.0 - 0 0"]
    for i, name in enumerate([*residues, "NME"], 1):
        before = f"CA.{i - 1}" if i > 1 else "CH3.0"
        rows.append(f"N.{i} C.{i - 1} {before} O.{i - 1} 180 116")
        alpha = f"CA.{i}" if name != "NME" else f"C.{i}"
        rows.append(f"{alpha} N.{i} C.{i - 1} {before} 180 122")
        if name != "NME":
            phi, psi, side_chain = RESIDUES[name]
            rows.append(f"C.{i} CA.{i} N.{i} C.{i - 1} {phi} 110")
            rows.append(f"O.{i} C.{i} CA.{i} N.{i} {psi + 180} 121")
            rows.append(f"CB.{i} CA.{i} N.{i} C.{i} -120 {103 if name == 'PRO' else 110}")
            for atom, *others, torsion, angle in map(str.split, filter(None, side_chain.split(";"))):
                rows.append(" ".join([f"{a}.{i}" for a in (atom, *others)] + [torsion, angle]))
    rows = [row.split() for row in rows]
    topology, atoms = app.Topology(), {}
    chain = topology.addChain()
    made = [topology.addResidue(name, chain) for name in ("ACE", *residues, "NME")]
    for name, *_ in rows:
        atom, number = name.split(".")
        element = app.Element.getBySymbol(name[0])
        atoms[name] = topology.addAtom(atom, element, made[int(number)])
    for name, bonded, *_ in rows[1:]:
        topology.addBond(atoms[bonded], atoms[name])
    for i, name in enumerate(residues, 1):
        if name in CLOSURES:
            topology.addBond(*(atoms[f"{atom}.{i}"] for atom in CLOSURES[name]))
    return topology, _from_internal_coordinates(rows)


def peptide(residues, solvent_files):
    """(System, openmm topology, minimised positions in nm) of ACE-`residues`-NME."""
    topology, positions = heavy_atoms(residues)
    force_field = app.ForceField("amber14-all.xml", *solvent_files)
    modeller = app.Modeller(topology, unit.Quantity(positions, unit.nanometer))
    random.seed(0)  # where addHydrogens takes its first guesses from
    modeller.addHydrogens(force_field, platform=openmm.Platform.getPlatformByName("Reference"))
    system = force_field.createSystem(
        modeller.topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False, removeCMMotion=False
    )
    positions = np.asarray(
        _minimised(system, np.array(modeller.positions.value_in_unit(unit.nanometer))).value_in_unit(unit.nanometer)
    )
    require_l_and_trans(modeller.topology, positions)
    return system, modeller.topology, positions


def require_l_and_trans(topology, positions):
    """Raise ValueError unless (N − CA)·((C − CA)×(CB − CA)) > 0 at each α carbon and |ω| > 150° at each amide."""
    residues = [{atom.name: positions[atom.index] for atom in r.atoms()} for r in topology.residues()]
    for i, r in enumerate(residues[1:-1], 1):
        n, c, beta = (r[name] - r["CA"] for name in ("N", "C", "CB"))
        if not n @ np.cross(c, beta) > 0:
            raise ValueError(f"residue {i} is D; change the angles that it is built from")
    for i, (r, after) in enumerate(pairwise(residues)):
        alphas = r.get("CA", r.get("CH3")), after.get("CA", after["C"])
        first, middle, last = r["C"] - alphas[0], after["N"] - r["C"], alphas[1] - after["N"]
        a, b = np.cross(first, middle), np.cross(middle, last)
        if a @ b > np.cos(np.radians(150)) * np.linalg.norm(a) * np.linalg.norm(b):
            raise ValueError(f"the amide after residue {i} is not trans; change the angles that it is built from")


def write(name, directory, overwrite=False):
    """Build the molecule `name` and save it in `directory`; returns the folder."""
    residues, solvent_files, solvent = MOLECULES[name]
    system, topology, positions = peptide(residues, solvent_files)
    chain = "-".join(("ACE", *residues, "NME"))
    return save_system(
        directory,
        system,
        topology,
        unit.Quantity(positions, unit.nanometer),
        300 * unit.kelvin,
        description=f"{chain} ({len(positions)} atoms) in {solvent}, all bonds flexible",
        force_field="AMBER ff14SB" + (" with OBC2 as CustomGBForce" if solvent_files else ""),
        origin="built from internal coordinates and minimised; parameters from the amber14-all.xml that OpenMM ships",
        rebuild=f"python benchmarks/small_molecules.py FOLDER {name}",
        overwrite=overwrite,
    )


def summary(folder):
    """Name, atoms, internal degrees of freedom, rotatable torsions, rings that pucker and E/kT of a written folder."""
    molecule = load_system(folder)
    topology = mdtraj.Topology.from_openmm(molecule.topology)
    start = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer))
    energy = molecule.target().reduced_potential(start[None]).item()
    n = topology.n_atoms
    n_torsions, n_rings = len(rotatable_torsions(topology)), len(saturated_rings(topology))
    return molecule.name, n, 3 * n - 6, n_torsions, n_rings, f"{energy:.1f}"


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="parent folder of what is written")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MOLECULES) + " (default: all)")
    parser.add_argument("--overwrite", action="store_true", help="replace the systems in existing folders")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in MOLECULES]:
        parser.error(f"there is no molecule {unknown[0]!r}; supported are {', '.join(MOLECULES)}")
    print("| molecule | atoms | internal degrees of freedom | rotatable torsions | rings | start / kT |")
    print("|---|---|---|---|---|---|")
    for name in options.names or MOLECULES:
        try:
            folder = write(name, options.folder / name, overwrite=options.overwrite)
        except FileExistsError as error:
            parser.error(f"{error}; here: --overwrite")
        row = summary(folder)
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
