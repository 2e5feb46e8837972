"""The folder of results that a run leaves behind: frames, figures, numbers and a report."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from openmm import unit

from openmm_diffsampler._common.sealed_files import sealed_json
from openmm_diffsampler._common.whole_files import write_whole
from openmm_diffsampler.coordinates import rotatable_torsions

from .comparison_plots import plot_comparison
from .comparison_results import comparison_numbers
from .diagnostics import chains_as_array, r_hat
from .estimates import has_weights
from .free_energy import free_energy_surface
from .landscape import Landscape
from .observables import default_observables
from .partition_results import partition_in_words, partition_numbers
from .plots import plot_chain_diagnostics, plot_energy_histogram
from .report import write_report
from .result_files import NUMBERS, REPORT, our_results
from .result_tables import result_tables
from .surface_plots import plot_free_energy_surface
from .torsion_convergence import torsion_convergence
from .torsion_plots import plot_torsion_convergence
from .torsion_results import torsion_numbers
from .torsions import molecule_torsions
from .verdict import judge
from .verdict_results import verdict_numbers
from .weight_plots import plot_weights

__all__ = ["surface_torsions", "write_results"]

_PACKAGES = ("openmm_diffsampler", "openmm", "torch", "mdtraj", "numpy")


def write_results(
    wt,
    folder,
    *,
    name,
    frames="trajectory.dcd",
    saved=None,
    statistics=(),
    settings=None,
    torsions=None,
    cost=None,
    comparison=None,
    forward=None,
    landscape=None,
    ending=None,
):
    """Analyse a weighted trajectory and write everything that describes it into `folder`.

    Written are the frames with their weights and topology, ``ramachandran.png`` or ``torsions.png``, ``energy.png``,
    ``weights.png``, ``comparison.png``, ``torsions_convergence.png``, ``chains.png``, ``diagnostics.json`` and
    ``report.html``, each where it makes sense: densities without particles have no surface, independent samples no
    chains, chains no weights. Importance samples of molecules come with a COLVAR file for PLUMED
    (:func:`~openmm_diffsampler.analysis.trajectory_files.save`), with log Z and with their absolute free energy.
    Numbers and report tell, for every torsion of a molecule, whether it has converged, and the populations of basins,
    wells and conformers with their standard errors.

    Of chains, the report begins with the sentence of :func:`~openmm_diffsampler.analysis.verdict.judge`, and with what
    speaks against them.

    Every file is written whole, and ``diagnostics.json`` last: where it is, all others are. It carries a checksum of
    its content and the names of the files.

    Arguments:
        wt: a WeightedTrajectory.
        folder: where files go; made if absent.
        name: of the system, for titles.
        frames: file name of the frames; ``.npz`` replaces the suffix for densities without particles.
        saved: where the frames are already; then they are not written.
        statistics: rows of the acceptance table, dicts with one key a column.
        settings: dict of what the run was asked for.
        torsions: the two torsions of the surface; by default :func:`surface_torsions`.
        cost: dict of part of the work, such as "training" → (energy evaluations, seconds).
        comparison: a ComparisonRun, such as :func:`~openmm_diffsampler.analysis.short_md` returns.
        forward: dict of plain names → numbers, as of ``ForwardDiagnostics.as_dict()``; what is under "warning" is shown
            above everything else.
        landscape: what the sampler of chains knew of the molecule, a Landscape, or None.
        ending: why the run of chains ended, or None where its length was given.

    Returns:
        dict of what was written → path.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    if saved is None:
        frames = frames if wt.topology is not None else str(Path(frames).with_suffix(".npz"))
        written.update(_saved(wt, folder / frames))
    molecule = molecule_torsions(wt)
    convergence = torsion_convergence(wt, molecule) if wt.kind == "mcmc" else []
    verdict = judge(wt, landscape or Landscape(), convergence, ending) if wt.kind == "mcmc" else None
    figures = _figures(wt, folder, name, torsions, convergence, comparison)
    written.update({caption.split(":")[0].lower(): path for caption, path in figures})
    numbers = torsion_numbers(wt, molecule, convergence)
    if comparison is not None:
        numbers["comparison"] = comparison_numbers(wt, comparison, cost)
    if verdict is not None:
        numbers |= verdict_numbers(verdict)
    numbers["forward diagnostics"] = {key: _finite(value) for key, value in (forward or {}).items()}
    numbers["cost"] = [
        {"part": part, "energy evaluations": n, "seconds": seconds} for part, (n, seconds) in (cost or {}).items()
    ]
    warnings = [*(verdict.warnings if verdict else ()), *filter(None, [(forward or {}).get("warning")])]
    diagnostics = _diagnostics(wt, name, numbers, statistics, settings)
    written["report"] = folder / REPORT
    write_report(
        written["report"],
        title=f"{name}: equilibrium configurations",
        summary=_summary(wt, settings),
        tables=result_tables(diagnostics),
        figures=figures,
        how_to_load=how_to_load(saved or frames),
        verdict=None if verdict is None else verdict.sentence,
        warnings=warnings,
    )
    written["numbers"] = folder / NUMBERS
    ours, are_listed = our_results(folder)
    # Without a list, what is beside them may be somebody else's.
    names = {Path(path).name for path in written.values()} | (ours if are_listed else set())
    json.dumps(diagnostics, allow_nan=False)  # which would be no JSON
    write_whole(written["numbers"], sealed_json(diagnostics | {"files": sorted(names)}))
    return written


def how_to_load(frames):
    """Python that loads the results saved as `frames`."""
    lines = [
        "from openmm_diffsampler import WeightedTrajectory",
        "",
        f"wt = WeightedTrajectory.load({json.dumps(str(frames), ensure_ascii=False)})",
    ]
    if not str(frames).endswith(".npz"):
        lines += ["wt.trajectory                            # mdtraj.Trajectory"]
    lines += ["wt.weights                               # one a frame, summing to one"]
    lines += ["wt.expectation(wt.reduced_potential)     # mean and standard error of u = E/kT"]
    return "\n".join(lines)


def surface_torsions(topology):
    """The two torsions that a free-energy surface shows, or None: φ and ψ, else the first two that turn heavy atoms."""
    if topology is None:
        return None
    from mdtraj.geometry import dihedral

    if len(dihedral.indices_phi(topology)) and len(dihedral.indices_psi(topology)):
        return "phi", "psi"
    heavy = {atom.index for atom in topology.atoms if atom.element.atomic_number > 1}
    torsions = [t for t in rotatable_torsions(topology) if heavy.issuperset(t)]
    return tuple(torsions[:2]) if len(torsions) > 1 else None


def _saved(wt, path):
    """Write the frames; dict of what each file holds → path."""
    plumed = has_weights(wt) and wt.topology is not None and wt.temperature is not None
    paths = wt.save(path, plumed=plumed)
    if len(paths) == 1:
        return {"frames and weights": paths[0]}
    labels = {".pdb": "topology", ".colvar": "weights for PLUMED", ".npz": "weights"}
    return {"frames": paths[0]} | {labels[path.suffix]: path for path in paths[1:]}


def _figures(wt, folder, name, torsions, convergence, comparison):
    figures = []
    torsions = torsions or surface_torsions(wt.topology)
    if torsions is not None and wt.temperature is not None:
        surface = free_energy_surface(wt, *torsions)
        stem = "ramachandran" if torsions == ("phi", "psi") else "torsions"
        plot_free_energy_surface(surface, folder / f"{stem}.png", name=name, errors=True)
        caption = "Free-energy surface: bins that no frame fell into are white."
        if surface.standard_error is not None:
            caption += " Right: standard error of each bin; where it is near kT, a frame or two make the bin."
        figures.append((caption, folder / f"{stem}.png"))
        if comparison is not None:
            path, labels = folder / "comparison.png", ("these samples", comparison.label)
            plot_comparison(wt, comparison.trajectory, path, labels=labels, torsions=torsions, name=name)
            caption = (
                "Comparison: surfaces of both runs, and densities of both torsions with ± 2 standard errors where "
                "known. The effective sample size of chains counts what they have visited; it knows of no other state."
            )
            figures.append((caption, path))
    if wt.reduced_potential is not None:
        plot_energy_histogram(wt, folder / "energy.png", name=name)
        figures.append(("Energy histogram: distribution of the potential energy.", folder / "energy.png"))
    if has_weights(wt):
        plot_weights(wt, folder / "weights.png", name=name)
        caption = "Weight distribution: how even the weights are, and how much of them the heaviest samples hold."
        figures.append((caption, folder / "weights.png"))
    if convergence:
        plot_torsion_convergence(wt, folder / "torsions_convergence.png", rows=convergence, name=name)
        caption = (
            "Convergence of torsions: density of each, worst first, in the first and the second half of the chains. "
            "The band holds the middle 90 % of single chains, dotted lines divide wells, and an orange title marks a "
            "torsion that has not converged."
        )
        figures.append((caption, folder / "torsions_convergence.png"))
    if wt.kind == "mcmc":
        plot_chain_diagnostics(wt, folder / "chains.png", name=name)
        caption = "Chains: running means of single chains, with the mean of all ± 2 standard errors as a band."
        figures.append((caption, folder / "chains.png"))
    return figures


def _diagnostics(wt, name, torsions, statistics, settings):
    observables = []
    values = default_observables(wt)
    for observable in values:
        mean, error = wt.expectation(values[observable])
        row = {"observable": observable, "mean": mean, "standard error": error}
        if wt.kind == "mcmc":
            row["effective sample size"] = wt.ess_by_observable[observable]
            row["R-hat"] = r_hat(chains_as_array(values[observable], wt.chain, wt.draw))
        observables.append({k: _finite(v) for k, v in row.items()})
    return {
        "system": name,
        "frames": len(wt),
        "kind": wt.kind,
        "temperature / K": None if wt.temperature is None else wt.temperature.value_in_unit(unit.kelvin),
        "effective sample size": wt.effective_sample_size,
        **partition_numbers(wt),
        "observables": observables,
        **torsions,
        "levels": [dict(row) for row in statistics],
        "settings": settings or {},
        "versions": {package: version(package) for package in _PACKAGES},
    }


def _finite(value):
    """JSON has no NaN and no infinity: they become null."""
    return value if value is None or isinstance(value, str) or np.isfinite(value) else None


def _summary(wt, settings):
    facts = {"result": wt.describe()}
    if wt.temperature is not None:
        facts["temperature"] = str(wt.temperature)
    facts |= partition_in_words(partition_numbers(wt))
    return facts | {name: str(value) for name, value in (settings or {}).items()}
