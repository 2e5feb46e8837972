"""Rebuild the folders of the built-in systems: ``python -m openmm_diffsampler.targets.build_systems NAME``."""

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from scipy.spatial.transform import Rotation

from .system_writer import save_system

__all__ = ["BUILDERS", "build_system", "icosahedron"]

_VACUUM_ORIGIN = "openmmtools.testsystems.AlanineDipeptideVacuum(constraints=None) without CMMotionRemover"
_IMPLICIT_ORIGIN = "openmmtools.testsystems.AlanineDipeptideImplicit(constraints=None) without CMMotionRemover"
_ASPARTAME_ORIGIN = "built from internal coordinates and minimised; parameters from the charmm36.xml that OpenMM ships"
_CLUSTER_ORIGIN = "Köhler, Klein & Noé, Equivariant flows, ICML 2020"


def build_system(name, directory, overwrite=False):
    """Build the built-in system `name` and save it into `directory`.

    Arguments:
        name: one of :data:`BUILDERS`.
        directory: the folder of the system.
        overwrite: replace what is in it.

    Returns:
        The folder as a Path.

    Raises:
        ValueError: there is no builder of that name.
        ModuleNotFoundError: openmmtools, which the molecules are from, is not installed.
    """
    if name not in BUILDERS:
        raise ValueError(f"there is no builder for {name!r}; supported are {', '.join(BUILDERS)}")
    entries = BUILDERS[name]()
    rebuild = f"python -m openmm_diffsampler.targets.build_systems {name}"
    return save_system(directory, **entries, rebuild=rebuild, overwrite=overwrite)


def _alanine_dipeptide(testsystem, solvent, force_field, origin):
    # Imported here, since openmmtools is slow to import and prints.
    from openmmtools import testsystems

    test = getattr(testsystems, testsystem)(constraints=None)
    for i in reversed(range(test.system.getNumForces())):
        if isinstance(test.system.getForce(i), openmm.CMMotionRemover):
            test.system.removeForce(i)
    positions = np.asarray(test.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    if not is_l_alanine(test.topology, positions):
        raise ValueError(f"{testsystem} of this openmmtools has D-alanine; install the version in requirements.txt")
    return {
        "system": test.system,
        "topology": test.topology,
        "positions": unit.Quantity(positions, unit.nanometer),
        "temperature": 300 * unit.kelvin,
        "description": f"alanine dipeptide (ACE-ALA-NME, 22 atoms) in {solvent}, all bonds flexible",
        "force_field": force_field,
        "origin": origin,
    }


def is_l_alanine(topology, positions):
    """Whether residue ALA is the L enantiomer: (N − CA)·((C − CA)×(CB − CA)) > 0.

    Arguments:
        topology: openmm.app Topology with a residue ALA.
        positions: (n_atoms, 3) array.
    """
    index = {atom.name: atom.index for atom in topology.atoms() if atom.residue.name == "ALA"}
    n, c, cb = (positions[index[name]] - positions[index["CA"]] for name in ("N", "C", "CB"))
    return float(n @ np.cross(c, cb)) > 0


#: Aspartame, the dipeptide Asp-Phe as methyl ester, with NH3+ and COO− as in water. A row: an atom, the one that it is
#: bonded to, the next one and a third, the torsion and the angle of these four in degrees.
_ASPARTAME = """
N1    -   -   -     -   -
CA1   N1  -   -     -   -
C1    CA1 N1  -     -   -
O1    C1  CA1 N1  -40 120
CB1   CA1 N1  C1 -120 110
HA1   CA1 N1  C1  120 110
HN1   N1  CA1 C1   60 110
HN2   N1  CA1 C1  180 110
HN3   N1  CA1 C1  -60 110
CG1   CB1 CA1 N1  -65 112
HB1   CB1 CA1 N1   55 110
HB2   CB1 CA1 N1  175 110
OD1   CG1 CB1 CA1 -30 118
OD2   CG1 CB1 CA1 150 118
N2    C1  CA1 N1  140 116
HN4   N2  C1  CA1   0 120
CA2   N2  C1  CA1 180 122
C2    CA2 N2  C1 -120 110
O2    C2  CA2 N2  -40 122
CB2   CA2 N2  C2 -120 110
HA2   CA2 N2  C2  120 110
CR1   CB2 CA2 N2  -65 113
HB3   CB2 CA2 N2   55 110
HB4   CB2 CA2 N2  175 110
CR2   CR1 CB2 CA2  90 120
HR2   CR2 CR1 CB2   0 120
CR3   CR2 CR1 CB2 180 120
HR3   CR3 CR2 CR1 180 120
CR4   CR3 CR2 CR1   0 120
HR4   CR4 CR3 CR2 180 120
CR5   CR4 CR3 CR2   0 120
HR5   CR5 CR4 CR3 180 120
CR6   CR5 CR4 CR3   0 120
HR6   CR6 CR5 CR4 180 120
OM    C2  CA2 N2  140 112
CM    OM  C2  CA2 180 115
HM1   CM  OM  C2   60 110
HM2   CM  OM  C2  180 110
HM3   CM  OM  C2  -60 110
"""


def _aspartame():
    rows = [line.split() for line in _ASPARTAME.split("\n") if line]
    names = [row[0] for row in rows]
    bonds = [(row[0], row[1]) for row in rows[1:]] + [("CR6", "CR1")]
    # The force field knows amino acids by themselves; a chemist's file has one molecule.
    split = names.index("N2")
    peptide = _topology([("ASP", names[:split]), ("PHE", names[split:])], bonds)
    force_field = app.ForceField("charmm36.xml", "implicit/obc2.xml")
    system = force_field.createSystem(
        peptide, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False, removeCMMotion=False
    )
    for i in reversed(range(system.getNumForces())):
        force = system.getForce(i)
        if isinstance(force, openmm.CMAPTorsionForce) and not force.getNumTorsions():
            system.removeForce(i)  # maps without an amino acid between two others
    return {
        "system": system,
        "topology": _topology([("APM", names)], bonds),
        "positions": _minimised(system, _from_internal_coordinates(rows)),
        "temperature": 300 * unit.kelvin,
        "description": "aspartame (Asp-Phe methyl ester, 39 atoms) in implicit water (OBC2), all bonds flexible",
        "force_field": "CHARMM36 with OBC2 as CustomGBForce",
        "origin": _ASPARTAME_ORIGIN,
    }


def _topology(residues, bonds):
    """One chain of (residue name, atom names); an element is the first letter of a name."""
    topology, atoms = app.Topology(), {}
    chain = topology.addChain()
    for residue_name, names in residues:
        residue = topology.addResidue(residue_name, chain)
        atoms |= {name: topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in names}
    for a, b in bonds:
        topology.addBond(atoms[a], atoms[b])
    return topology


def _from_internal_coordinates(rows):
    """Positions in nm; bonds are 0.1 nm to hydrogen and 0.14 nm between others, for a minimisation to correct."""
    index = {row[0]: i for i, row in enumerate(rows)}
    x = np.zeros((len(rows), 3))
    x[1], x[2] = (0.14, 0, 0), (0.19, 0.13, 0)
    for i, (name, *others, torsion, angle) in enumerate(rows[3:], 3):
        length, theta, phi = 0.1 if name[0] == "H" else 0.14, math.radians(float(angle)), math.radians(float(torsion))
        a, b, c = (x[index[other]] for other in others)
        along = (a - b) / np.linalg.norm(a - b)
        normal = np.cross(b - c, along)
        normal /= np.linalg.norm(normal)
        sideways = math.cos(phi) * np.cross(normal, along) + math.sin(phi) * normal
        x[i] = a + length * (math.sin(theta) * sideways - math.cos(theta) * along)
    return x


def _lennard_jones(n_shells):
    positions = icosahedron(n_shells)
    n = len(positions)
    system = openmm.System()
    # The trap about the centroid is a pair term: ½Σ|x_i − x̄|² = Σ_{i<j} r²/(2N).
    force = openmm.CustomNonbondedForce(f"2*y*(y-2) + r^2/{2 * n}; y=1/r^6")
    force.setNonbondedMethod(openmm.CustomNonbondedForce.NoCutoff)
    topology = app.Topology()
    residue = topology.addResidue("CLU", topology.addChain())
    for i in range(n):
        system.addParticle(39.948)
        force.addParticle([])
        topology.addAtom(f"Ar{i + 1}", app.Element.getBySymbol("Ar"), residue)
    system.addForce(force)
    return {
        "system": system,
        "topology": topology,
        "positions": _minimised(system, positions),
        "temperature": 1 * unit.kilojoule_per_mole / unit.MOLAR_GAS_CONSTANT_R,
        "description": f"{n} Lennard-Jones particles in a harmonic trap, reduced units, kT = 1",
        "length_unit": "reduced",
        "force_field": "2(r^-12 - 2 r^-6) per pair (each counted twice) + half the squared distance from the centroid",
        "origin": _CLUSTER_ORIGIN,
    }


def icosahedron(n_shells):
    """Mackay icosahedron of 13 (one shell) or 55 (two shells) sites, nearest neighbours about 1 apart: (n, 3).

    Example:
        >>> icosahedron(1).shape, icosahedron(2).shape
        ((13, 3), (55, 3))
    """
    if n_shells not in (1, 2):
        raise ValueError(f"n_shells is {n_shells}; supported are 1 (13 sites) and 2 (55 sites)")
    golden = (1 + math.sqrt(5)) / 2
    vertices = [np.roll([0, one, other], shift) for shift in range(3) for one in (-1, 1) for other in (-golden, golden)]
    vertices = np.array(vertices) / 2  # edges of length 1
    sites = [np.zeros((1, 3)), vertices]
    if n_shells == 2:
        edges = [a + b for a, b in itertools.combinations(vertices, 2) if np.linalg.norm(a - b) < 1.1]
        sites += [2 * vertices, np.array(edges)]
    return np.concatenate(sites)


def _minimised(system, positions):
    """The minimum next to positions (n, 3) in nm, turned as they are: rounding decides how a minimisation turns it."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, tolerance=1e-6)
    found = context.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    start, found = positions - positions.mean(0), found - found.mean(0)
    turn, _ = Rotation.align_vectors(start, found)
    return unit.Quantity(turn.apply(found) + positions.mean(0), unit.nanometer)


#: Name of a built-in system -> what builds the arguments of save_system.
BUILDERS = {
    "alanine-dipeptide": lambda: _alanine_dipeptide(
        "AlanineDipeptideImplicit", "implicit water (OBC1)", "AMBER ff96 with OBC1 as CustomGBForce", _IMPLICIT_ORIGIN
    ),
    "alanine-dipeptide-vacuum": lambda: _alanine_dipeptide(
        "AlanineDipeptideVacuum", "vacuum", "AMBER ff96", _VACUUM_ORIGIN
    ),
    "aspartame": _aspartame,
    "lj13": lambda: _lennard_jones(1),
    "lj55": lambda: _lennard_jones(2),
}


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m openmm_diffsampler.targets.build_systems", description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(BUILDERS), metavar="NAME", help=", ".join(BUILDERS))
    parser.add_argument("--output", type=Path, default=Path("."), metavar="DIR", help="parent folder (default: here)")
    parser.add_argument("--overwrite", action="store_true", help="replace the systems in existing folders")
    options = parser.parse_args(arguments)
    for name in options.names:
        print(build_system(name, options.output / name, overwrite=options.overwrite))


if __name__ == "__main__":
    main()
