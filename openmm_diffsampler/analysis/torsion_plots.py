"""The figure of convergence torsion by torsion."""

import numpy as np

from .plots import _BLUE, _DPI, _GREY, _ORANGE, _finish, _symbol
from .torsion_convergence import torsion_convergence, worst_first
from .torsion_wells import periodic_density

__all__ = ["plot_torsion_convergence"]

_MOST_PANELS = 12

#: Degrees; wider than for finding wells, since single chains have fewer frames.
_WIDTH = 10.0


def plot_torsion_convergence(wt, path=None, *, rows=None, name=None):
    """Marginal density of each torsion, in the first and the second half of the chains and in single chains.

    Panels come worst first, at most twelve, and symmetric groups (methyl, phenyl) last. The band holds the middle 90 %
    of the single chains: chains that stay in their wells make it reach far above the lines. Dotted lines divide the
    wells. Titles are orange where R-hat or the effective sample size say that the torsion has not converged.

    Arguments:
        wt: a WeightedTrajectory of kind "mcmc".
        path: file to write, or None.
        rows: list of TorsionConvergence; by default :func:`~openmm_diffsampler.analysis.torsion_convergence`.
        name: of the system, for the title.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: the frames are not of chains, or the molecule has no torsions.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(50, 4, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> len(plot_torsion_convergence(WeightedTrajectory.from_chains(x, topology=topology)).axes)
        7
    """
    from matplotlib.figure import Figure

    rows = torsion_convergence(wt) if rows is None else rows
    if not rows:
        raise ValueError("the molecule has no torsions (is the topology without bonds?)")
    shown = worst_first(rows)[:_MOST_PANELS]
    n_columns = min(len(shown), 3 if len(shown) <= 6 else 4)
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(max(2.5 * n_columns, 5.0), 1.0 + 1.8 * n_rows), dpi=_DPI, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    chain = np.unique(wt.chain.numpy(), return_inverse=True)[1].ravel()
    late = _second_half(chain, wt.draw.numpy())
    for axes, row in zip(panels, shown, strict=False):
        _panel(axes, row, chain, late)
    for axes in panels[len(shown) :]:
        axes.remove()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    bad = sum(not row.converged for row in rows)
    facts = f"{len(rows) - bad} of {len(rows)} torsions converged"
    if len(shown) < len(rows):
        facts += f"; the worst {len(shown)} are shown"
    figure.suptitle(f"{name}: {facts}" if name else facts, fontsize=10)
    return _finish(figure, path)


def _panel(axes, row, chain, late):
    angles = row.torsion.angles
    grid = np.arange(-179.5, 180)
    if chain.any():
        each = periodic_density(angles, width=_WIDTH, group=chain)
        low, high = np.quantile(each, (0.05, 0.95), axis=0)
        axes.fill_between(grid, low, high, color=_GREY, alpha=0.35, lw=0, label="single chains, middle 90 %")
    halves = ((~late, _BLUE, "-", "all chains, first half"), (late, _ORANGE, (0, (3, 1.5)), "all chains, second half"))
    for half, colour, style, label in halves:
        if half.any():
            axes.plot(grid, periodic_density(angles[half], width=_WIDTH), color=colour, ls=style, lw=1.3, label=label)
    for boundary in row.torsion.wells.boundaries:
        axes.axvline(boundary, color=_GREY, lw=0.8, ls=":", zorder=0)
    axes.set(xlim=(-180, 180), yticks=())
    axes.set_xticks((-180, -90, 0, 90, 180), ("−180°", "−90°", "0°", "90°", "180°"))
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8)
    name = _symbol(row.torsion.name) + (", symmetric end" if row.torsion.symmetric else "")
    facts = f"R-hat {row.r_hat:.3f}, ESS {row.effective_sample_size:,.0f}"
    axes.set_title(f"{name}\n{facts}", fontsize=8, color="black" if row.converged else "#c05621")


def _second_half(chain, draw):
    """Whether each frame is in the later half of its chain."""
    lengths = np.bincount(chain)
    rank = np.empty(len(chain), dtype=int)
    rank[np.lexsort((draw, chain))] = np.arange(len(chain)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rank >= lengths[chain] / 2
