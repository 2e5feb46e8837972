import sys

import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import (
    WeightedTrajectory,
    plot_chain_diagnostics,
    plot_energy_histogram,
    plot_free_energy_surface,
    plot_weights,
)

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def surface(weighted_dipeptide):
    return weighted_dipeptide.free_energy_surface(bins=12)


def test_free_energy_surface(surface, tmp_path):
    figure = plot_free_energy_surface(surface, tmp_path / "f.png", name="alanine dipeptide", maximum=5)
    assert (tmp_path / "f.png").read_bytes().startswith(PNG)
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("φ / °", "ψ / °")
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist()
    assert np.unique(np.diff(axes.get_xticks())).tolist() == [60]
    assert bar.get_ylabel() == "free energy / kJ mol⁻¹"
    ess = surface.effective_sample_size
    assert axes.get_title() == f"alanine dipeptide\n300 K, effective sample size {ess:.0f}"
    mesh = axes.collections[0]
    assert mesh.get_clim() == (0, 5)
    # The first torsion runs along x, and empty bins are masked.
    shown = mesh.get_array()
    assert np.array_equal(shown.mask, np.isinf(surface.free_energy.T))
    assert np.array_equal(shown.compressed(), surface.free_energy.T[~shown.mask])


def test_energies_are_weighted_and_in_kilojoules():
    """Energies 1 and 3 kT of weights 3/4 and 1/4 at the temperature where kT is 2.494 kJ/mol."""
    u = torch.tensor([1.0, 3.0] * 500)
    wt = WeightedTrajectory(
        u[:, None],
        torch.where(u == 1, np.log(3), 0.0),
        kind="importance",
        reduced_potential=u,
        temperature=300 * unit.kelvin,
    )
    axes = plot_energy_histogram(wt).axes[0]
    density, edges, _ = axes.patches[0].get_data()
    mass = density * np.diff(edges)
    assert axes.get_xlabel() == "potential energy / kJ mol⁻¹"
    assert np.sort(mass)[-2:] == pytest.approx([0.25, 0.75]) and mass.sum() == pytest.approx(1)
    peak = edges[np.argmax(mass)]
    assert peak < 2.494 < peak + edges[1] - edges[0]


def test_energies_without_temperature_are_in_kt(gaussian):
    figure = plot_energy_histogram(gaussian(100, seed=0), reference=gaussian(500, seed=1), name="normal")
    axes = figure.axes[0]
    assert axes.get_xlabel() == "potential energy / kT" and axes.get_title() == "normal"
    assert [text.get_text().split(",")[0] for text in axes.get_legend().get_texts()][1] == "reference"


def test_infinite_energies_of_weight_zero_are_left_out(gaussian):
    u = torch.tensor([0.0, 1.0, 2.0, torch.inf])
    wt = WeightedTrajectory(torch.zeros(4, 1), -u, kind="importance", reduced_potential=u)
    density, edges, _ = plot_energy_histogram(wt).axes[0].patches[0].get_data()
    assert (density * np.diff(edges)).sum() == pytest.approx(1) and edges[-1] < 3


def test_energy_histogram_refusals(gaussian, dipeptide_chains):
    with pytest.raises(ValueError, match="no reduced potentials"):
        plot_energy_histogram(WeightedTrajectory(torch.zeros(3, 1), torch.zeros(3), kind="importance"))
    with pytest.raises(ValueError, match="units of their energies differ"):
        plot_energy_histogram(gaussian(5, seed=0), reference=dipeptide_chains)


def test_chain_diagnostics(dipeptide_chains, tmp_path):
    figure = plot_chain_diagnostics(dipeptide_chains, tmp_path / "c.png", name="alanine dipeptide")
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    *traces, r_hats, ess = figure.axes
    assert len(traces) == 4 and all(len(axes.lines) == 6 for axes in traces)
    # The running mean ends at the mean of each chain, for the observables of smallest ESS.
    smallest = sorted(dipeptide_chains.ess_by_observable.items(), key=lambda item: item[1])[:4]
    assert [text.get_text() for text in ess.texts] == [f"{value:.0f}" for _, value in smallest]
    energy = plot_chain_diagnostics(dipeptide_chains, observables={"u": dipeptide_chains.reduced_potential})
    means = [line.get_ydata()[-1] for line in energy.axes[0].lines]
    assert means == pytest.approx(dipeptide_chains.reduced_potential.reshape(6, 50).mean(1).tolist())
    assert r_hats.get_title() == "R-hat − 1"


@pytest.mark.parametrize("values", [np.zeros(300), np.repeat(np.arange(6.0), 50)])
def test_stuck_chains_can_be_plotted(dipeptide_chains, values, tmp_path):
    figure = plot_chain_diagnostics(dipeptide_chains, tmp_path / "c.png", observables={"stuck": values})
    assert figure.axes[1].texts[0].get_text() in ("nan", "inf")


def test_chain_diagnostics_refusals(weighted_dipeptide, dipeptide_chains):
    with pytest.raises(ValueError, match="kind 'importance'"):
        plot_chain_diagnostics(weighted_dipeptide)
    with pytest.raises(ValueError, match="no observables"):
        plot_chain_diagnostics(dipeptide_chains, observables={})


def test_pyplot_stays_out(surface):
    before = "matplotlib.pyplot" in sys.modules
    plot_free_energy_surface(surface)
    assert ("matplotlib.pyplot" in sys.modules) == before


def test_weights(tmp_path):
    log_weights = torch.tensor([0.0, 1.0, -torch.inf, -2.0])
    wt = WeightedTrajectory(torch.zeros(4, 2), log_weights, kind="importance")
    figure = plot_weights(wt, tmp_path / "w.png", name="four")
    assert (tmp_path / "w.png").read_bytes().startswith(PNG)
    left, right = figure.axes
    assert sum(bar.get_height() for bar in left.patches) == 3  # the sample without weight has no logarithm
    heaviest = right.lines[0].get_ydata()
    assert heaviest[0] == pytest.approx(100 * float(wt.weights.max())) and heaviest[-1] == pytest.approx(100)
    chains = WeightedTrajectory(torch.zeros(4, 2), torch.zeros(4), kind="mcmc")
    with pytest.raises(ValueError, match="'mcmc'"):
        plot_weights(chains)
