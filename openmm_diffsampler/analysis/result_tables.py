"""Numbers of a run as tables of text, for the report and the terminal."""

from .comparison_results import comparison_body
from .populations import population_in_words
from .verdict_results import conformer_body, shape_body

__all__ = ["result_tables"]

_TITLES = {
    "forward diagnostics": "Samples against held-out equilibrium configurations",
    "cost": "Cost",
    "comparison": "Comparison with another run",
    "torsions": "Convergence of each torsion (good: R-hat below 1.01, effective sample size ESS above 400)",
    "shapes": "Shapes of rings and nitrogens: harmonic shares are those of free energies of single minima",
    "known conformers": "Conformers found before the run, up to 6 kT above the lowest, that no chain visited",
    "basins": "Populations of the basins in (φ, ψ)",
    "wells": "Populations of the wells of each torsion",
    "conformers": "Populations of conformers, from 1 %",
    "observables": "Means, effective sample size and R-hat (near 1 where the chains agree; below 1.01 is good)",
    "levels": "Acceptance of each level after warm-up",
}

#: Conformers of more torsions are written in one column.
_MOST_COLUMNS = 5


def result_tables(diagnostics, keys=tuple(_TITLES)):
    """Tables (heading, column names, rows of text) of what ``diagnostics.json`` holds; empty ones are left out.

    Populations are written as value ± standard error, with the 95 % interval of rare states in its place, or with the
    95 % bound where no frame is in a state.

    Arguments:
        diagnostics: dict as read from ``diagnostics.json``.
        keys: which tables, in this order.

    Example:
        >>> row = {"basin": "C7ax", "population": 0.0, "standard error": None, "upper bound (95 %)": 0.0015}
        >>> result_tables({"basins": [row]}, ["basins"])
        [('Populations of the basins in (φ, ψ)', ['basin', 'population'], [['C7ax', 'not visited (< 0.0015)']])]
    """
    tables = []
    for key in keys:
        rows = diagnostics.get(key)
        if rows:
            columns, body = _BODIES.get(key, _plain)(rows)
            if body:
                tables.append((_TITLES[key], columns, body))
    return tables


def _torsions(rows):
    columns = ["torsion", "converged", "R-hat", "ESS", "wells", "transitions", "per chain"]
    body = []
    for row in rows:
        chain = row["transitions of a chain"]
        several = row["wells"] > 1
        body.append(
            [
                row["torsion"] + (" (symmetric end)" if row["symmetric end"] else ""),
                row["converged"],
                "–" if row["R-hat"] is None else f"{row['R-hat']:.3f}",
                f"{row['effective sample size']:,.0f}",
                str(row["wells"]),
                f"{row['transitions']:,}" if several else "–",
                f"{chain['mean']:.3g} ({chain['fewest']} to {chain['most']})" if several else "–",
            ]
        )
    return columns, body


def _basins(rows):
    return ["basin", "population"], [[row["basin"], population_in_words(row)] for row in rows]


def _wells(rows):
    """The wells of a symmetric group, such as methyl, are one conformer, and left out."""
    body = [
        [row["torsion"], row["well"], f"{row['from / °']:.0f}° to {row['to / °']:.0f}°", population_in_words(row)]
        for row in rows
        if not row["symmetric end"]
    ]
    return ["torsion", "well", "from, to", "population"], body


def _conformers(rows):
    names = list(rows[0]["wells"])
    if len(names) > _MOST_COLUMNS:
        columns = ["population", "wells of " + ", ".join(names)]
        return columns, [[population_in_words(row), ", ".join(row["wells"].values())] for row in rows]
    return ["population", *names], [[population_in_words(row), *row["wells"].values()] for row in rows]


def _pairs(numbers):
    """Rows of a dict; the warning is shown at the top of the report instead."""
    shown = {name: f"{value:.6g}" if isinstance(value, float) else _cell(value) for name, value in numbers.items()}
    return ["quantity", "value"], [[name, text] for name, text in shown.items() if name != "warning"]


def _cost(rows):
    body = [[row["part"], f"{row['energy evaluations']:,.0f}", f"{row['seconds']:,.1f}"] for row in rows]
    return ["part", "energy evaluations", "seconds"], body


_BODIES = {
    "comparison": comparison_body,
    "forward diagnostics": _pairs,
    "cost": _cost,
    "torsions": _torsions,
    "basins": _basins,
    "wells": _wells,
    "conformers": _conformers,
    "shapes": shape_body,
    "known conformers": conformer_body,
}


def _plain(rows):
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return columns, [[_cell(row.get(column, "")) for column in columns] for row in rows]


def _cell(value):
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return str(value)
