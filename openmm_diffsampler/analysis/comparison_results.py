"""Numbers of weighted samples beside those of a run to compare with: populations, cost, effective sample sizes."""

import numpy as np

from .free_energy import ALANINE_DIPEPTIDE_BASINS, basin_populations
from .populations import population_in_words, unvisited_bound
from .torsions import backbone_torsions

__all__ = ["comparison_body", "comparison_numbers"]


def comparison_numbers(wt, comparison, cost=None):
    """One dict a run, for a JSON file: what it is, what it has cost, its effective sample size and its basins.

    Arguments:
        wt: the WeightedTrajectory of the samples.
        comparison: a ComparisonRun.
        cost: dict of part of the work → (evaluations, seconds) for the samples, or None.

    Returns:
        list of two dicts.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import ComparisonRun, WeightedTrajectory
        >>> wt = WeightedTrajectory(torch.zeros(9, 2), torch.zeros(9), kind="importance")
        >>> other = ComparisonRun(wt, "another run", 900, 1.5)
        >>> [row["seconds"] for row in comparison_numbers(wt, other, {"training": (10, 2.0), "sampling": (5, 0.5)})]
        [2.5, 1.5]
    """
    samples = {"run": "these samples", "energy evaluations": None, "seconds": None}
    if cost:
        samples["energy evaluations"] = sum(n for n, _ in cost.values())
        samples["seconds"] = sum(seconds for _, seconds in cost.values())
    other = {
        "run": comparison.label,
        "energy evaluations": comparison.n_evaluations,
        "seconds": comparison.seconds,
    }
    return [
        row | {"frames": len(run), "effective sample size": run.effective_sample_size, "basins": _basins(run)}
        for row, run in ((samples, wt), (other, comparison.trajectory))
    ]


def comparison_body(rows):
    """Column names and rows of text of the table: one column a run, one row a quantity."""
    body = []
    for key, form in (
        ("energy evaluations", "{:,.0f}"),
        ("seconds", "{:,.1f}"),
        ("frames", "{:,}"),
        ("effective sample size", "{:,.0f}"),
    ):
        body.append([key, *("–" if row[key] is None else form.format(row[key]) for row in rows)])
    for basin in rows[0]["basins"]:
        body.append([f"population of {basin}", *(_text(row["basins"][basin]) for row in rows)])
    return ["", *(row["run"] for row in rows)], body


def _basins(wt):
    """Populations by name, where there is one φ and one ψ."""
    if wt.topology is None or set(backbone_torsions(wt.topology)) != {"phi", "psi"}:
        return {}
    rows = {}
    for name, estimate in basin_populations(wt, basins=ALANINE_DIPEPTIDE_BASINS).items():
        error = estimate.standard_error
        rows[name] = {"population": estimate.value, "standard error": error if np.isfinite(error) else None}
        rows[name] |= {"95 % interval": list(estimate.interval)}
        # A chain that did not cross a barrier bounds nothing behind it.
        if estimate.value == 0 and wt.kind != "mcmc":
            rows[name]["upper bound (95 %)"] = unvisited_bound(wt)
    return rows


def _text(row):
    if row["population"] == 0 and "upper bound (95 %)" not in row:
        return "not visited"
    return population_in_words(row)
