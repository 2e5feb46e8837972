"""The figure of weighted samples beside another run of the same molecule."""

import numpy as np

from .free_energy import _label
from .marginals import torsion_marginal
from .plots import _BLUE, _DPI, _ORANGE, _finish, _symbol
from .surface_plots import colour_bar, draw_surface

__all__ = ["plot_comparison"]


def plot_comparison(
    wt, other, path=None, *, labels=("samples", "molecular dynamics"), torsions=("phi", "psi"), name=None, maximum=30.0
):
    """Two free-energy surfaces on one colour scale, and the marginal of either torsion by both runs.

    Densities of the marginals are on a logarithmic axis, where rare states show; bands are ± 2 standard errors, for
    runs that have them.

    Arguments:
        wt, other: WeightedTrajectories of one molecule.
        path: file to write, or None.
        labels: what the two are called.
        torsions: two, by name or as four atom indices.
        name: of the system, for the title.
        maximum: end of the colour scale in kJ/mol.

    Returns:
        matplotlib Figure.

    Raises:
        TypeError, ValueError: as :func:`~openmm_diffsampler.analysis.free_energy_surface`.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> molecule = load_system("alanine-dipeptide")
        >>> x = torch.randn(50, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> wt = WeightedTrajectory(
        ...     x, torch.zeros(50), kind="mcmc", topology=molecule.mdtraj_topology, temperature=molecule.temperature
        ... )
        >>> len(plot_comparison(wt, wt).axes)
        5
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 7.6), dpi=_DPI, layout="constrained")
    panels = figure.subplots(2, 2, height_ratios=(1.45, 1))
    runs = list(zip((wt, other), labels, (_BLUE, _ORANGE), strict=True))
    for axes, (run, label, _) in zip(panels[0], runs, strict=True):
        image = draw_surface(axes, run.free_energy_surface(*torsions), maximum)
        axes.set_title(f"{label}\neffective sample size {run.effective_sample_size:,.0f}", fontsize=10)
    colour_bar(figure, panels[0], image, "free energy / kJ mol⁻¹")
    for axes, torsion in zip(panels[1], torsions, strict=True):
        for run, label, colour in runs:
            _marginal(axes, run, torsion, label, colour)
        axes.set(xlim=(-180, 180), yscale="log", ylabel="density / (°)⁻¹")
        axes.set_xticks(range(-180, 181, 60))
        axes.set_xlabel(f"{_symbol(_label(torsion))} / °")
        axes.spines[["top", "right"]].set_visible(False)
    panels[1, 0].legend(frameon=False, fontsize=8)
    figure.suptitle(name or "", fontsize=11)
    return _finish(figure, path)


def _marginal(axes, wt, torsion, label, colour):
    edges, density, error = torsion_marginal(wt, torsion)
    shown = np.where(density > 0, density, np.nan)
    axes.stairs(shown, edges, color=colour, lw=1.3, label=label)
    if error is not None:
        # An error bar that reaches zero would reach the lower end of a logarithmic axis.
        low = np.maximum(shown - 2 * error, shown / 10)
        axes.stairs(shown + 2 * error, edges, baseline=low, fill=True, color=colour, alpha=0.25, lw=0)
