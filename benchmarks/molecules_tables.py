"""Markdown tables of the rows that molecules.py measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["TABLES"]

#: Of molecules, in %.
_QUANTILES = {"median": 50, "90 %": 90, "worst": 100}
#: Molecules named at the end of a distribution.
_N_NAMED = 8
#: In seconds.
_MINUTE = 60


def table(columns: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def pm(value: float, error: float | None, digits: int = 3) -> str:
    """A value with its standard error, if it has one."""
    known = error is not None and np.isfinite(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}" if known else f"{value:.{digits}f}"


def conformers(rows: list[dict]) -> str:
    """The share of levels that were visited, molecules with missing ones by name."""
    levels, visited = (sum(row[k] for row in rows) for k in ("levels", "visited"))
    incomplete = [row for row in rows if row["missing, kJ/mol"]]
    cells = [
        [
            row["molecule"],
            row["levels"],
            row["visited"],
            ", ".join(map(str, row["missing, kJ/mol"])),
            row["levels that ETKDG lacks"],
            "yes" if row["warnings"] else "no",
        ]
        for row in incomplete
    ]
    headers = ["molecule", "levels", "visited", "missing at / kJ/mol", "levels that ETKDG lacks", "warned"]
    text = f"{visited} of {levels} levels visited ({visited / max(levels, 1):.3%}), all of them in "
    text += f"{len(rows) - len(incomplete)} of {len(rows)} molecules"
    return f"{text}.\n\n{table(headers, cells)}" if cells else f"{text}."


def done(rows: list[dict]) -> str:
    """Shares of runs that ended converged, and within a minute; those that did not, with what they say."""
    n = len(rows)
    converged = [row for row in rows if row["converged"]]
    within = sum(row["seconds"] <= _MINUTE for row in converged)
    seconds = np.array([row["seconds"] for row in rows])
    times = ", ".join(f"{name} {np.percentile(seconds, q):.0f} s" for name, q in _QUANTILES.items())
    text = f"{len(converged)} of {n} converged, {within} of them within {_MINUTE} s ({within / n:.1%}); {times}."
    cells = [
        [
            row["molecule"],
            f"{row['seconds']:.0f}",
            f"{row['evaluations']:.2g}",
            _said(row),
        ]
        for row in rows
        if not row["converged"] or row["seconds"] > _MINUTE
    ]
    return f"{text}\n\n{table(['molecule', 'seconds', 'evaluations', 'verdict'], cells)}" if cells else text


def _said(row: dict) -> str:
    return " ".join([row["sentence"], *row["warnings"]])


def starts(rows: list[dict]) -> str:
    """One table a molecule: populations of its lowest levels from each of its conformers."""
    tables = []
    for row in rows:
        levels = [
            f"{height:.2f} kT" + f" ({words})" * bool(words)
            for height, words in zip(row["levels, kT"], row["rings"], strict=True)
        ]
        cells = []
        for run in row["starts"]:
            cost = run["evaluations"], run["with warm-up and learning"]
            shares = [pm(*p) for p in run["populations"]]
            cells.append([f"{run['start, kT']:.2f} kT", *shares, pm(*run["mean u"], 2), *cost])
        headers = [f"{row['molecule']}, start", *levels, "⟨u⟩ / kT", "evaluations", "with warm-up and learning"]
        tables.append(table(headers, cells))
    return "\n\n".join(tables)


def ess(rows: list[dict]) -> str:
    """Quantiles over molecules, and the worst by name."""
    cost = np.array([row["evaluations per effective sample"] for row in rows])
    head = [[what, f"{np.percentile(cost, q):.0f}"] for what, q in _QUANTILES.items()]
    worst = [rows[k] for k in np.argsort(-cost)[:_N_NAMED]]
    named = [
        [row["molecule"], f"{row['evaluations per effective sample']:.0f}", row["slowest"], row["evaluations"]]
        for row in worst
    ]
    return "\n\n".join(
        [
            table(["over molecules", "evaluations per effective sample"], head),
            table(["worst molecules", "evaluations per effective sample", "of", "evaluations"], named),
        ]
    )


def populations(rows: list[dict]) -> str:
    """Each molecule's largest |z|, and the share of basins within three."""
    basins = [basin for row in rows for basin in row["basins"]]
    within = sum(abs(basin["z"]) <= 3 for basin in basins)
    cells = []
    for row in rows:
        worst = max(row["basins"], key=lambda basin: abs(basin["z"]))
        mean, error, right, right_error, z = row["mean u"]
        cells.append(
            [
                row["molecule"],
                len(row["basins"]),
                f"{worst['sampler']:.3f}, {worst['tempering']:.3f}",
                f"{worst['z']:.1f}",
                len(row["missing"]),
                pm(mean, error, 2),
                pm(right, right_error, 2),
                f"{z:.1f}",
            ]
        )
    headers = ["molecule", "basins above 1 %", "worst: sampler, replica exchange", "z", "missing above 5 %"]
    headers += ["⟨u⟩", "by replica exchange", "z of ⟨u⟩"]
    return f"|z| ≤ 3 in {within} of {len(basins)} basins ({within / len(basins):.1%}).\n\n{table(headers, cells)}"


def reference(rows: list[dict]) -> str:
    """⟨u⟩ and the populations of levels."""
    cells = []
    for row in rows:
        cells.append([row["molecule"], "⟨u⟩ / kT", "", pm(row["mean u"], row["standard error of mean u"], 2)])
        cells += [
            ["", f"{level['height, kT']:.2f}", level["rings"], pm(level["population"], level["standard error"], 4)]
            for level in row["levels"]
        ]
    return table(["molecule", "minimum / kT", "rings", "population"], cells)


def calibration(rows: list[dict]) -> str:
    """Standard deviations of z: smallest, median, largest."""
    cells = []
    for row in rows:
        deviations = row["standard deviations of z"]
        values = sorted(deviations.values())
        largest = max(deviations, key=deviations.get)
        numbers = [f"{v:.2f}" for v in (deviations["u 0"], values[0], float(np.median(values)), values[-1])]
        cells.append([row["molecule"], row["repeats"], len(values), *numbers, largest])
    headers = ["molecule", "repeats", "observables", "u", "smallest", "median", "largest", "of"]
    return table(headers, cells)


def peptides(rows: list[dict]) -> str:
    """Effective samples per million evaluations of the slowest torsion, by each sampler."""
    cells = []
    for row in rows:
        per_million = row["effective samples per million evaluations"]
        ours = per_million["sampler"]
        others = [found for name, found in per_million.items() if name != "sampler"]
        numbers = [f"{min(found.values()):.1f}" for found in per_million.values()]
        slowest = min(ours.values()) / max(min(found.values()) for found in others)
        least = min(n / max(found[torsion] for found in others) for torsion, n in ours.items())
        cells.append([row["molecule"], min(ours, key=ours.get), *numbers, f"{slowest:.1f}", f"{least:.1f}"])
    names = list(rows[0]["effective samples per million evaluations"])
    return table(["molecule", "slowest", *names, "times the better one's slowest", "least of all torsions"], cells)


def hydration(rows: list[dict]) -> str:
    """Free energies of hydration in kcal/mol."""
    cells = [
        [
            row["molecule"],
            pm(row["free energy"], row["standard error"]),
            f"{row['single conformer']:.3f}",
            "–" if row["experiment"] is None else pm(*row["experiment"], 2),
            row["evaluations"],
        ]
        for row in rows
    ]
    largest = max(row["standard error"] for row in rows)
    text = f"Largest standard error {largest:.3f} kcal/mol."
    known = [row for row in rows if row["experiment"] is not None]
    for what in ("free energy", "single conformer"):
        if known:
            off = np.array([row[what] - row["experiment"][0] for row in known])
            text += (
                f" {what}: mean deviation from experiment {off.mean():.2f}, root mean square {off.std():.2f} about it."
            )
    headers = ["molecule", "free energy, kcal/mol", "single conformer", "experiment", "evaluations"]
    return f"{text}\n\n{table(headers, cells)}"


def chignolin(rows: list[dict]) -> str:
    """Populations of the folded state, by sampler and start."""
    cells = [
        [
            row["molecule"],
            name,
            start,
            found["evaluations"],
            *(pm(*found[k]) for k in ("folded", "mean u")),
            found["words"],
        ]
        for row in rows
        for name, starts in row["samplers"].items()
        for start, found in starts.items()
    ]
    return table(["molecule", "sampler", "start", "evaluations", "folded", "⟨u⟩ / kT", "R-hat of u, ESS of u"], cells)


TABLES: dict[str, Callable[[list[dict]], str]] = {
    measure.__name__: measure
    for measure in (conformers, starts, ess, done, populations, reference, calibration, peptides, hydration, chignolin)
}
