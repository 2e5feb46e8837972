"""The figure of a free-energy surface, with a map of its standard error beside it on request."""

import numpy as np
from openmm import unit

from openmm_diffsampler.targets.units import thermal_energy

from .plots import _DPI, _finish, _symbol

__all__ = ["plot_free_energy_surface"]


def plot_free_energy_surface(surface, path=None, *, name=None, maximum=30.0, errors=False):
    """Free energy over two torsions in degrees; empty bins are white, and the colour scale ends at `maximum`.

    Arguments:
        surface: a FreeEnergySurface.
        path: file to write, or None.
        name: of the system, for the title.
        maximum: end of the colour scale in kJ/mol.
        errors: whether a second panel shows the standard error of every bin, on a scale that ends at kT. A surface of a
            single chain has none, and stays alone.

    Returns:
        matplotlib Figure.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> molecule = load_system("alanine-dipeptide")
        >>> x = torch.randn(50, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> labels = dict(topology=molecule.mdtraj_topology, temperature=molecule.temperature)
        >>> surface = WeightedTrajectory(x, torch.zeros(50), kind="importance", **labels).free_energy_surface()
        >>> figure = plot_free_energy_surface(surface, errors=True)
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['ψ / °', 'ψ / °', 'free energy / kJ mol⁻¹', 'standard error / kJ mol⁻¹']
    """
    from matplotlib.figure import Figure

    error = surface.free_energy_standard_error if errors else None
    n_panels = 1 if error is None else 2
    figure = Figure(figsize=(5.9 * n_panels, 4.8), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    image = draw_surface(panels[0], surface, maximum)
    colour_bar(figure, panels[0], image, "free energy / kJ mol⁻¹")
    kelvin = surface.temperature.value_in_unit(unit.kelvin)
    facts = f"{kelvin:g} K, effective sample size {surface.effective_sample_size:.0f}"
    if error is None:
        panels[0].set_title(f"{name}\n{facts}" if name else facts, fontsize=10)
        return _finish(figure, path)
    image = _draw(panels[1], surface, error, "magma_r", thermal_energy(surface.temperature))
    colour_bar(figure, panels[1], image, "standard error / kJ mol⁻¹")
    figure.suptitle(f"{name}: {facts}" if name else facts, fontsize=10)
    return _finish(figure, path)


def draw_surface(axes, surface, maximum):
    """Draw the free energy on given axes; the image is returned, for a colour bar."""
    return _draw(axes, surface, surface.free_energy, "viridis", maximum)


def colour_bar(figure, axes, image, label):
    """A colour bar beside one or several axes, with an arrow where the scale ends below the largest value."""
    extend = "max" if image.get_array().max() > image.norm.vmax else "neither"
    # Axes in a row share one bar.
    fraction = 0.045 if not isinstance(axes, np.ndarray) else 0.045 / len(axes)
    bar = figure.colorbar(image, ax=axes, extend=extend, fraction=fraction, pad=0.04 if fraction == 0.045 else 0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def _draw(axes, surface, values, colours, maximum):
    from matplotlib.ticker import MultipleLocator

    shown = np.ma.masked_invalid(values).T
    image = axes.pcolormesh(
        surface.edges_a, surface.edges_b, shown, cmap=colours, vmin=0, vmax=maximum, rasterized=True
    )
    axes.set(xlim=(-180, 180), ylim=(-180, 180), box_aspect=1)
    for axis, label in ((axes.xaxis, surface.label_a), (axes.yaxis, surface.label_b)):
        axis.set_major_locator(MultipleLocator(60))
        axis.set_label_text(f"{_symbol(label)} / °")
    return image
