"""What diagnostics.json and the report say of a verdict."""

from __future__ import annotations

from typing import Any

import numpy as np

from .populations import population_in_words, population_row
from .unvisited import Shape
from .verdict import Verdict

__all__ = ["conformer_body", "shape_body", "verdict_numbers"]

#: Shapes of less than this, by frames and by harmonic free energies, are left out of tables.
_LEAST = 1e-4


def verdict_numbers(verdict: Verdict) -> dict[str, Any]:
    """Entries "verdict", "shapes" and "known conformers" of ``diagnostics.json``.

    Example:
        >>> verdict_numbers(Verdict("Converged: it has.", True, ()))["verdict"]["converged"]
        True
    """
    return {
        "verdict": {
            "sentence": verdict.sentence,
            "converged": verdict.is_converged,
            "warnings": list(verdict.warnings),
            "watched": [
                {
                    "what": row.name,
                    "R-hat": row.r_hat if np.isfinite(row.r_hat) else None,
                    "effective sample size": row.effective_sample_size,
                }
                for row in verdict.watched
            ],
        },
        "shapes": [
            {
                "part": shape.part,
                "energy / kT": shape.height,
                **_population(shape),
                "harmonic": shape.harmonic,
                "entered": shape.entered,
                "left": shape.left,
            }
            for shape in verdict.shapes
        ],
        "known conformers": [
            {
                "energy / kT": row.height,
                "population": row.population,
                "expected": row.expected,
                "symmetric one visited": row.twin_visited,
            }
            for row in verdict.conformers
        ],
    }


def _population(shape: Shape) -> dict[str, Any]:
    if shape.estimate is None:
        return {"population": shape.population, "standard error": None}
    return population_row(shape.estimate, None)


def shape_body(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table of shapes that matter."""
    columns = ["part", "energy / kT", "population", "harmonic", "ways in", "ways out"]
    return columns, [
        [
            row["part"],
            f"{row['energy / kT']:.2f}",
            _in_words(row),
            f"{row['harmonic']:.2g}",
            f"{row['entered']:,}",
            f"{row['left']:,}",
        ]
        for row in rows
        if max(row["population"], row["harmonic"]) >= _LEAST
    ]


def _in_words(row: dict[str, Any]) -> str:
    if row["standard error"] is not None or row["population"] == 1:
        return population_in_words(row)
    return f"{row['population']:.5f}" if row["population"] else "never entered"


def conformer_body(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a table of conformers that no chain visited."""
    return ["energy / kT", "share expected by energy"], [
        [f"{row['energy / kT']:.2f}", f"{row['expected']:.2g}"]
        for row in rows
        if not row["population"] and not row["symmetric one visited"]
    ]
