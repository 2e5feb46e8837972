"""Figures: energy histogram, and the state of the chains; and what all figures share.

All functions return a matplotlib Figure and save it where a path is given; none touches the global state of pyplot.
"""

import numpy as np

from openmm_diffsampler._common.whole_files import written_whole
from openmm_diffsampler.targets.units import thermal_energy

from .diagnostics import chains_as_array, effective_sample_size, r_hat
from .observables import default_observables

__all__ = ["plot_chain_diagnostics", "plot_energy_histogram"]

_DPI = 150
_BLUE, _ORANGE, _GREY = "#2b6cb0", "#dd6b20", "#8795a1"
_SYMBOLS = {"phi": "φ", "psi": "ψ", "omega": "ω"}


def plot_energy_histogram(wt, path=None, *, reference=None, name=None, bins=60):
    """Weighted distribution of the potential energy, in kJ/mol if the temperature is known and else in kT.

    Arguments:
        wt: a WeightedTrajectory with reduced potentials.
        path: file to write, or None.
        reference: a second WeightedTrajectory, drawn as an outline, or None.
        name: of the system, for the title.
        bins: number of bins, over the range that holds all but 0.1 % of the weight at either end.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: a trajectory without reduced potentials, or only one of the two with a temperature.
    """
    series = [wt] if reference is None else [wt, reference]
    if any(part.reduced_potential is None for part in series):
        raise ValueError("there are no reduced potentials; pass reduced_potential= when making the WeightedTrajectory")
    if len({part.temperature is None for part in series}) == 2:
        raise ValueError("one trajectory has a temperature and the other has none; the units of their energies differ")
    weights = [part.weights.numpy() for part in series]
    energies = [part.reduced_potential.numpy() * _energy_scale(part) for part in series]
    tails = [_weighted_quantile(e, w, q) for e, w in zip(energies, weights, strict=True) for q in (0.001, 0.999)]
    low, high = min(tails), max(tails)
    margin = 0.05 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, bins + 1)

    figure, axes = _figure(5.6, 3.6)
    density = [
        np.histogram(e[w > 0], edges, weights=w[w > 0])[0] / np.diff(edges)
        for e, w in zip(energies, weights, strict=True)
    ]
    axes.stairs(
        density[0],
        edges,
        fill=True,
        color=_BLUE,
        alpha=0.55,
        label=f"effective sample size {wt.effective_sample_size:.0f}",
    )
    axes.stairs(density[0], edges, color=_BLUE, lw=1.0)
    if reference is not None:
        label = f"reference, effective sample size {reference.effective_sample_size:.0f}"
        axes.stairs(density[1], edges, color=_ORANGE, lw=1.6, label=label)
    in_units = "kT" if wt.temperature is None else "kJ mol⁻¹"
    axes.set(xlabel=f"potential energy / {in_units}", ylabel=f"density / ({in_units})⁻¹", xlim=(edges[0], edges[-1]))
    axes.set_ylim(0, 1.28 * max(d.max() for d in density))
    axes.set_title(name or "", fontsize=10)
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    return _finish(figure, path)


def plot_chain_diagnostics(wt, path=None, *, observables=None, name=None, max_chains=8):
    """Running means of a few chains, R-hat and ESS, for up to four observables.

    Left: running mean of each chain over its draws, with the mean of all chains ± 2 standard errors as a band. Right:
    R-hat with the customary limit 1.01, and ESS on a logarithmic axis.

    Arguments:
        wt: a WeightedTrajectory of kind "mcmc".
        path: file to write, or None.
        observables: dict of name → (n_frames,) values; by default the four default observables of smallest ESS.
        name: of the system, for the title.
        max_chains: how many chains to draw, evenly chosen; R-hat and ESS use all.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: the frames are not of chains, or there are no observables.
    """
    if wt.kind != "mcmc":
        raise ValueError(f"the trajectory has kind {wt.kind!r}; only chains (kind 'mcmc') have these diagnostics")
    values = default_observables(wt) if observables is None else observables
    if not values:
        raise ValueError("there are no observables to plot")
    chains = {key: chains_as_array(column, wt.chain, wt.draw) for key, column in values.items()}
    ess = {key: effective_sample_size(array) for key, array in chains.items()}
    if observables is None:
        chains = {key: chains[key] for key in sorted(ess, key=ess.get)[:4]}
    ess = {key: ess[key] for key in chains}
    n_draws, n_chains = next(iter(chains.values())).shape

    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 1.2 + 1.35 * len(chains)), dpi=_DPI, layout="constrained")
    grid = figure.add_gridspec(len(chains), 3, width_ratios=(3.4, 1, 1))
    shown = np.unique(np.linspace(0, n_chains - 1, min(max_chains, n_chains)).round().astype(int))
    colours = _colours(len(shown))
    steps = np.arange(1, n_draws + 1)
    for row, (key, array) in enumerate(chains.items()):
        axes = figure.add_subplot(grid[row, 0])
        running = array.cumsum(0)[:, shown] / steps[:, None]
        error = array.std() / np.sqrt(ess[key])
        axes.axhspan(array.mean() - 2 * error, array.mean() + 2 * error, color=_GREY, alpha=0.3, lw=0)
        for column, colour in zip(running.T, colours, strict=True):
            axes.plot(steps, column, lw=1.0, color=colour)
        # The first few running means are single draws; they would set the scale.
        axes.set(ylim=_limits(running[min(len(running) - 1, max(1, n_draws // 20)) :]), xlim=(1, max(n_draws, 2)))
        axes.set_ylabel(_symbol(key).replace(" of ", "\nof "))
        axes.spines[["top", "right"]].set_visible(False)
        if row == 0:
            axes.set_title(f"running mean of {len(shown)} of {n_chains} chains", fontsize=9)
        if row < len(chains) - 1:
            axes.tick_params(labelbottom=False)
    axes.set_xlabel("draw")
    labels = [_symbol(key) for key in chains]
    rhats = [r_hat(array) for array in chains.values()]
    _bars(
        figure.add_subplot(grid[:, 1]),
        labels,
        [r - 1 for r in rhats],
        [f"{r:.3f}" for r in rhats],
        "R-hat − 1",
        limit=0.01,
    )
    _bars(
        figure.add_subplot(grid[:, 2]),
        labels,
        list(ess.values()),
        [f"{e:.0f}" for e in ess.values()],
        f"ESS ({len(wt)} frames)",
    )
    figure.suptitle(name or "", fontsize=10)
    return _finish(figure, path)


def _figure(width, height):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    _show_names_as_they_are(figure)
    if path is not None:
        with written_whole(path) as unfinished:
            figure.savefig(unfinished, dpi=_DPI)
    return figure


def _show_names_as_they_are(figure):
    """Names of systems and atoms may hold a $, which begins a formula elsewhere; numbers of the axes are formulas."""
    texts = [figure._suptitle, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += [] if axes.get_legend() is None else axes.get_legend().get_texts()
    for text in texts:
        if text is not None:
            text.set_parse_math(False)


def _bars(axes, labels, heights, texts, title, limit=None):
    """Horizontal bars with their values written beside, on a logarithmic axis."""
    floor = 1e-4 if limit else 1.0
    heights = np.nan_to_num(np.asarray(heights, dtype=float), nan=floor, posinf=1.0)
    rows = np.arange(len(labels))
    colours = [_ORANGE if limit and h > limit else _BLUE for h in heights]
    axes.barh(rows, np.maximum(heights, floor), color=colours, height=0.3)
    axes.set_xscale("log")
    axes.set_xlim(floor, max(heights.max(), (limit or floor) * 1.5) * 40)
    for row, height, text in zip(rows, heights, texts, strict=True):
        axes.text(max(height, floor) * 1.25, row, text, va="center", fontsize=8)
    if limit:
        axes.axvline(limit, color=_GREY, lw=1, ls="--")
    axes.set_yticks(rows, labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _colours(n):
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0.05, 0.85, n))


def _energy_scale(wt):
    return 1.0 if wt.temperature is None else thermal_energy(wt.temperature)


def _weighted_quantile(values, weights, q):
    order = np.argsort(values)
    return values[order][np.searchsorted(np.cumsum(weights[order]), q * weights.sum()).clip(max=len(values) - 1)]


def _limits(values):
    low, high = values.min(), values.max()
    margin = 0.1 * (high - low) or 0.5
    return low - margin, high + margin


def _symbol(name):
    for word, symbol in _SYMBOLS.items():
        name = name.replace(word, symbol)
    return name
