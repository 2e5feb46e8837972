"""Is the sampler right on molecules that nobody tuned it on? Measurements over a folder of molecules, a row each.

    python benchmarks/molecules.py conformers FOLDER
    python benchmarks/molecules.py starts FOLDER --names clmepip --budget 1e6
    python benchmarks/molecules.py ess FOLDER --names mobley --budget 1e6 --jobs 2
    python benchmarks/molecules.py done FOLDER --names mobley --budget 2e7 --chains 128
    python benchmarks/molecules.py populations FOLDER --names 'clmepip|haloper' --budget 1e6 --ratio 100
    python benchmarks/molecules.py reference FOLDER --names clmepip --budget 1.6e7
    python benchmarks/molecules.py calibration FOLDER --names clmepip --repeats 200
    python benchmarks/molecules.py peptides FOLDER --names AAAAA --budget 2e6
    python benchmarks/molecules.py hydration FOLDER --names mobley
    python benchmarks/molecules.py chignolin FOLDER --names chig --budget 1e8

FOLDER is searched for AMBER files (.prmtop, with .inpcrd or .rst7 beside it; implicit solvent by ``--solvent``) and for
folders that ``load_system`` reads. Whatever is measured of a molecule goes as a line to the ``--json`` file, with its
budget and seed, so that the same command goes on after an interruption; ``--output`` gets the table. RDKit is needed
for conformers, populations and references (``pip install openmm_diffsampler[chem]``), pymbar for hydration.

conformers: levels up to 8 kJ/mol above the lowest that ETKDG and a minimisation find, and how many a run visits;
    minima with the same energy and sorted distances are one level, so that symmetric ones and mirror images count once.
    A level is visited if a frame of the run leads down to it.
starts: populations of levels by runs that are given one conformer after the other to start from.
ess: evaluations after warm-up for each effective sample (autocorrelation) of the slowest rotatable torsion, ring
    torsion or basin; turns that make a symmetric group the same do not count.
done: what ends a default run, after how many seconds (with the search before it), and its verdict.
populations: of levels, by the sampler and by replica exchange in internal coordinates, 12 rungs to seven times the
    temperature, which starts at the conformers of ETKDG and knows of no basins.
reference: the replica exchange alone.
calibration: standard deviations of (estimate − mean)/(standard error) over repeats.
peptides: effective samples of every torsion, beside Langevin dynamics (2 fs, 1/ps) and replica exchange.
hydration: free energies of implicit solvent by BAR from samples with and without, beside the difference of energies
    in the lowest conformer of vacuum, and experiment (index.tsv).
chignolin: folded and unfolded populations from an extended and a compact start.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import time
from pathlib import Path

import numpy as np
import torch
from molecules_files import SOLVENTS, find_molecules, read_molecule
from molecules_hydration import hydration
from molecules_measures import calibration, conformers, done, ess, populations, reference, starts
from molecules_peptides import chignolin, peptides
from molecules_tables import TABLES

MEASURES = {
    measure.__name__: measure
    for measure in (conformers, starts, ess, done, populations, reference, calibration, peptides, hydration, chignolin)
}
#: Options that make a row another one.
_KEY = ("what", "budget", "seed", "chains", "solvent", "ratio", "repeats", "embeddings", "quenched")


def measured(job: tuple[str, str, argparse.Namespace]) -> dict:
    """The row of one molecule; what goes wrong with it is a row too."""
    name, path, options = job
    torch.set_num_threads(1)  # batches are small
    begin = time.perf_counter()
    row = key(name, options)
    try:
        molecule = read_molecule(name, Path(path), options.solvent)
        row |= {"atoms": molecule.topology.n_atoms} | MEASURES[options.what](molecule, options)
    except Exception as error:  # one molecule that cannot be measured is a result, and no end of the others
        row["error"] = f"{type(error).__name__}: {error}"
    return row | {"wall time": round(time.perf_counter() - begin, 1)}


def key(name: str, options: argparse.Namespace) -> dict:
    """What tells a row from others."""
    return {"molecule": name} | {k: getattr(options, k) for k in _KEY}


def read_rows(file: Path) -> list[dict]:
    """Rows that were measured before; a last line that an interruption cut off is left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{file}: a line that is cut off is left out", flush=True)
    return rows


def missing_rows(molecules: dict[str, Path], options: argparse.Namespace) -> None:
    """Measure what the file does not have, and once more what went wrong."""
    there = [row for row in read_rows(options.json) if "error" not in row]
    wanted = [name for name in molecules if not any(_is_of(row, name, options) for row in there)]
    jobs = [(name, str(molecules[name]), options) for name in wanted]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool, options.json.open("a", encoding="utf-8") as f:
        for row in pool.imap_unordered(measured, jobs) if jobs else ():
            f.write(json.dumps(row, default=_plain) + "\n")
            f.flush()
            print(f"{row['molecule']}: {row.get('error', 'measured')} ({row['wall time']} s)", flush=True)


def _is_of(row: dict, name: str, options: argparse.Namespace) -> bool:
    return all(row.get(k) == v for k, v in key(name, options).items())


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.generic | np.ndarray | torch.Tensor) else str(value)


def report(molecules: dict[str, Path], options: argparse.Namespace) -> str:
    """The table of the rows asked for, what they took, and molecules without one."""
    latest = {}
    for row in read_rows(options.json):
        if row["molecule"] in molecules and _is_of(row, row["molecule"], options):
            latest[row["molecule"]] = row
    rows = [latest[name] for name in sorted(latest)]
    good, bad = ([row for row in rows if ("error" in row) == wrong] for wrong in (False, True))
    asked = ", ".join(f"{k} {getattr(options, k)}" for k in _KEY[1:])
    parts = [f"## {options.what}: {len(good)} of {len(molecules)} molecules", f"{asked}."]
    if good:
        parts.append(TABLES[options.what](good))
    parts += [f"- {row['molecule']} could not be measured: {row['error']}" for row in bad]
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with molecules in it, or below")
    parser.add_argument("--names", default="", metavar="REGEX", help="of molecules; default: all")
    parser.add_argument("--budget", type=float, default=1e6, help="evaluations of a run, warm-up included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chains", type=int, default=64, help="of the sampler")
    parser.add_argument("--solvent", default="obc2", choices=SOLVENTS, help="of AMBER files")
    parser.add_argument("--ratio", type=float, default=100, help="budget of replica exchange over the sampler's")
    parser.add_argument("--repeats", type=int, default=200, help="runs of a calibration")
    parser.add_argument("--embeddings", type=int, default=200, help="conformers of ETKDG")
    parser.add_argument("--quenched", type=int, default=8000, help="frames that are minimised to tell their level")
    parser.add_argument("--jobs", type=int, default=1, help="molecules at a time")
    parser.add_argument("--json", type=Path, default=Path("molecules.jsonl"), help="results, a line a molecule")
    parser.add_argument("--output", type=Path, help="Markdown file of the table")
    options = parser.parse_args(arguments)
    try:
        re.compile(options.names)
        molecules = find_molecules(options.folder, options.names)
    except (re.error, FileNotFoundError) as error:
        parser.error(str(error))
    missing_rows(molecules, options)
    text = report(molecules, options)
    print("\n" + text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
