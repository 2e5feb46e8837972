"""What commands print: errors in one line, the target, the results."""

import json
import logging
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

__all__ = ["announce_compilation", "console", "describe_target", "fail", "print_results"]

console = Console()


def fail(error):
    """Print the error and end the command."""
    Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
    raise typer.Exit(1)


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

    console.print(f"\n{wt.describe()}", highlight=False, soft_wrap=True)
    for row in statistics:
        rates = ", ".join(f"{k} {v:.3f}" for k, v in row.items() if k.endswith("acceptance"))
        step = f", step size {row['step size']:.2g}" if "step size" in row else ""
        speed = row["evaluations"] / max(row["seconds"], 1e-9)
        line = f"  {row['level']}: {rates}{step}, {row['evaluations']:,} evaluations at {speed:,.0f}/s"
        console.print(line, highlight=False, soft_wrap=True)
    _print_torsions(json.loads(Path(written["numbers"]).read_text()))
    console.print()
    width = max(map(len, written))
    for what, path in written.items():
        console.print(f"  {what:{width}}  {path}", highlight=False, soft_wrap=True)
    path = frames or next(p for what, p in written.items() if what.startswith("frames"))
    console.print("\nLoad them in Python:\n", highlight=False)
    for line in how_to_load(path).splitlines():
        console.print(f"    {line}" if line else "", highlight=False, soft_wrap=True, markup=False)


def _print_torsions(diagnostics, most=20):
    """Convergence and populations, of molecules that have torsions; all rows are in the report."""
    from openmm_diffsampler.analysis.result_tables import result_tables

    for title, columns, rows in result_tables(diagnostics, ["torsions", "basins", "wells", "conformers"]):
        console.print(f"\n{title}", highlight=False, soft_wrap=True, markup=False)
        shown = [columns, *rows[:most]]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for row in shown:
            line = "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
        if len(rows) > most:
            console.print(f"  ... and {len(rows) - most} more in the report", highlight=False)
