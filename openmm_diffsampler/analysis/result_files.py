"""Which files of a folder are results that :func:`~openmm_diffsampler.analysis.write_results` wrote."""

from __future__ import annotations

import warnings
from fnmatch import fnmatchcase
from pathlib import Path

from openmm_diffsampler._common.sealed_files import DamagedFileError, UnsealedFileWarning, read_json

__all__ = ["FIGURES", "FRAMES", "NUMBERS", "REPORT", "matching", "our_results"]

#: Names that ``write_results`` gives them; a user's ``trajectory.backup.dcd`` is none of ours.
FRAMES = (
    "trajectory.dcd",
    "trajectory.npz",
    "trajectory.topology.pdb",
    "trajectory.weights.npz",
    "trajectory.colvar",
)
FIGURES = (
    "ramachandran.png",
    "torsions.png",
    "comparison.png",
    "energy.png",
    "weights.png",
    "torsions_convergence.png",
    "chains.png",
)
NUMBERS, REPORT = "diagnostics.json", "report.html"
#: Entries that the numbers of every version have.
_ENTRIES = {"system", "frames", "kind", "observables", "settings", "versions"}


def matching(folder: Path, patterns: tuple[str, ...] | list[str]) -> list[str]:
    """Names in `folder` that match any of the patterns, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if any(fnmatchcase(path.name, p) for p in patterns))


def our_results(folder: str | Path) -> tuple[set[str], bool]:
    """Names of the results in `folder`, and whether their numbers list them, as those of earlier versions do not.

    The proof is ``diagnostics.json``: whole, as it was written, with the entries that results have. Without it nothing
    in the folder counts as a result.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "report.html").write_text("mine")
        ...     our_results(folder)
        (set(), False)
    """
    folder = Path(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnsealedFileWarning)
            entries = read_json(folder / NUMBERS)
    except (DamagedFileError, FileNotFoundError):
        return set(), False
    versions = entries.get("versions")
    if not set(entries) >= _ENTRIES or not isinstance(versions, dict) or "openmm_diffsampler" not in versions:
        return set(), False
    there = set(matching(folder, [*FRAMES, *FIGURES, NUMBERS, REPORT]))
    listed = entries.get("files")
    return (there & {str(name) for name in listed}, True) if isinstance(listed, list) else (there, False)
