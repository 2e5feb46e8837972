"""What commands print: the target, the results. Names and paths may hold what rich takes for markup: none is read."""

import json
import logging
from pathlib import Path

from rich.console import Console

__all__ = ["announce_compilation", "console", "describe_target", "print_results", "say"]

#: Tables of a report that are printed too.
_SHOWN = ("torsions", "shapes", "known conformers", "basins", "wells", "conformers")

console = Console(markup=False, emoji=False, highlight=False)


def say(text: str = "", style: str | None = None) -> None:
    """Print a line as it is, however long."""
    console.print(text, style=style, soft_wrap=True)


def announce_compilation():
    """Show what the package logs about compiling kernels, which happens once for each System."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("openmm_diffsampler.targets.backends.kernel")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)


def describe_target(target):
    """Degrees of freedom, and where energies come from."""
    backend = getattr(target, "backend", None)
    how = "" if backend is None else f", energies by backend {backend} ({target.backend_reason})"
    return f"{target.n_degrees_of_freedom} degrees of freedom{how}"


def print_results(wt, statistics, written, frames=None):
    """The figures of a run, its files, and how to load them."""
    from openmm_diffsampler.analysis.results import how_to_load

    say(f"\n{wt.describe()}")
    for row in statistics:
        rates = ", ".join(f"{k} {v:.3f}" for k, v in row.items() if k.endswith("acceptance"))
        step = f", step size {row['step size']:.2g}" if "step size" in row else ""
        speed = row["evaluations"] / max(row["seconds"], 1e-9)
        line = f"  {row['level']}: {rates}{step}, {row['evaluations']:,} evaluations at {speed:,.0f}/s"
        say(line)
    numbers = json.loads(Path(written["numbers"]).read_text())
    _print_torsions(numbers)
    _print_verdict(numbers.get("verdict"))
    say()
    width = max(map(len, written))
    for what, path in written.items():
        say(f"  {what:{width}}  {path}")
    path = frames or next(p for what, p in written.items() if what.startswith("frames"))
    say("\nLoad them in Python:\n")
    for line in how_to_load(path).splitlines():
        say(f"    {line}" if line else "")


def _print_verdict(verdict):
    if verdict is not None:
        say(f"\n{verdict['sentence']}", style="bold" if verdict["converged"] else "bold red")
        for warning in verdict["warnings"]:
            say(f"warning: {warning}", style="red")


def _print_torsions(diagnostics, most=20):
    """Convergence and populations, of molecules that have torsions; all rows are in the report."""
    from openmm_diffsampler.analysis.result_tables import result_tables

    for title, columns, rows in result_tables(
        diagnostics, ["torsions", "shapes", "known conformers", "basins", "wells", "conformers"]
    ):
        say(f"\n{title}")
        shown = [columns, *rows[:most]]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for row in shown:
            line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            say(f"  {line}")
        if len(rows) > most:
            say(f"  ... and {len(rows) - most} more in the report")
