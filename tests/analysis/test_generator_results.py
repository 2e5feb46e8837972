"""What results of a generator show: error map, log Z, comparison with molecular dynamics, warnings, exports."""

import json
import sys

import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler import load_system
from openmm_diffsampler.analysis import (
    ComparisonRun,
    WeightedTrajectory,
    plot_comparison,
    plot_free_energy_surface,
    short_md,
    torsion_angles,
    torsion_marginal,
    write_results,
)

KT = 8.31446261815324e-3 * 300


def test_error_map_is_the_spread_between_repetitions(dipeptide, with_torsions):
    """F of a bin over independent sets of weighted samples scatters as the map says."""
    errors, values = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        phi, psi = rng.uniform(-180, 180, size=(2, 800))
        wt = WeightedTrajectory(
            with_torsions(phi, psi, seed),
            np.cos(np.radians(phi)) + 0.5 * rng.normal(size=800),
            kind="importance",
            topology=dipeptide,
            temperature=300 * unit.kelvin,
        )
        surface = wt.free_energy_surface(bins=4)
        values.append(-KT * np.log(surface.probability))
        errors.append(surface.free_energy_standard_error)
    ratio = np.mean(errors, axis=0) / np.std(values, axis=0, ddof=1)
    # The standard deviation of 60 values is known to 9 %, in each of 16 bins.
    assert ratio.mean() == pytest.approx(1, abs=0.06) and np.abs(ratio - 1).max() < 0.4


def test_error_map_of_single_frames_and_single_chains(dipeptide, with_torsions, dipeptide_chains):
    wt = WeightedTrajectory(
        with_torsions(np.array([-65.0, 65.0]), np.array([-45.0, 45.0])),
        np.zeros(2),
        kind="importance",
        topology=dipeptide,
        temperature=300 * unit.kelvin,
    )
    surface = wt.free_energy_surface(bins=4)
    error = surface.free_energy_standard_error
    assert np.array_equal(np.isnan(error), surface.probability == 0)
    assert np.nanmax(error) == pytest.approx(KT * np.sqrt(0.5))
    assert dipeptide_chains.free_energy_surface(bins=4).free_energy_standard_error.shape == (4, 4)
    alone = dipeptide_chains[:50].free_energy_surface(bins=4)
    assert alone.free_energy_standard_error is None
    assert len(plot_free_energy_surface(alone, errors=True).axes) == 2


def test_figure_with_error_map(weighted_dipeptide, tmp_path):
    surface = weighted_dipeptide.free_energy_surface(bins=12)
    figure = plot_free_energy_surface(surface, tmp_path / "f.png", errors=True)
    mesh = figure.axes[1].collections[0]
    assert mesh.get_clim() == pytest.approx((0, KT))
    shown = mesh.get_array()
    assert np.array_equal(shown.compressed(), surface.free_energy_standard_error.T[~shown.mask])
    assert (tmp_path / "f.png").stat().st_size > 10_000


def test_marginal_is_that_of_expectations(weighted_dipeptide):
    edges, density, error = torsion_marginal(weighted_dipeptide, "psi", bins=8)
    psi = torsion_angles(weighted_dipeptide, "psi")
    value, standard_error = weighted_dipeptide.expectation((psi >= edges[3]) & (psi < edges[4]))
    assert (density[3] * 45, error[3] * 45) == pytest.approx((value, standard_error))


@pytest.fixture(scope="module")
def md():
    m = load_system("alanine-dipeptide-vacuum")
    return short_md(m.system, m.topology, m.positions, m.temperature, n_evaluations=5_000, platform="Reference", seed=2)


def test_md_costs_what_it_may(md):
    wt = md.trajectory
    assert wt.kind == "mcmc" and len(wt.chain.unique()) == 1 and wt.n_frames == 49
    assert md.n_evaluations == 49 * 101 <= 5_000 and md.seconds > 0 and md.label == "molecular dynamics, 4.9 ps"
    # Energies are those of the frames.
    target = load_system("alanine-dipeptide-vacuum").target(backend="openmm")
    u = target.reduced_potential(wt.x[-3:].to(target.dtype))
    assert wt.reduced_potential[-3:].numpy() == pytest.approx(u.cpu().numpy(), abs=0.05)


def test_md_is_fixed_by_its_seed_and_ends_in_time():
    m = load_system("alanine-dipeptide-vacuum")
    runs = [
        short_md(m.system, m.topology, m.positions, m.temperature, n_evaluations=303, platform="Reference", seed=seed)
        for seed in (0, 0, 1)
    ]
    first, again, other = (run.trajectory.x for run in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)
    timed = short_md(m.system, m.mdtraj_topology, m.positions, m.temperature, seconds=0.05)
    assert 0.05 <= timed.seconds < 5 and timed.trajectory.n_frames >= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "n_evaluations or seconds"),
        ({"n_evaluations": 500, "seconds": 1}, "n_evaluations or seconds"),
        ({"n_evaluations": 100}, "no frame of 100 steps"),
        ({"seconds": 0}, "must be positive"),
    ],
)
def test_md_refusals(wrong, message):
    m = load_system("alanine-dipeptide-vacuum")
    with pytest.raises(ValueError, match=message):
        short_md(m.system, m.topology, m.positions, m.temperature, **wrong)


def test_comparison_figure(weighted_dipeptide, md, tmp_path):
    figure = plot_comparison(weighted_dipeptide, md.trajectory, tmp_path / "c.png", labels=("a", "b"), name="molecule")
    left, right, phi, psi, _ = figure.axes
    assert left.get_title().startswith("a\n") and right.get_title().startswith("b\n")
    assert (phi.get_xlabel(), psi.get_xlabel()) == ("φ / °", "ψ / °") and phi.get_yscale() == "log"
    assert [text.get_text() for text in phi.get_legend().get_texts()] == ["a", "b"]


def test_results_of_a_generator(weighted_dipeptide, md, tmp_path):
    written = write_results(
        weighted_dipeptide,
        tmp_path,
        name="dipeptide",
        settings={"sampler": "generator"},
        cost={"training": (2_000_000, 60.0), "sampling": (40, 0.5)},
        comparison=ComparisonRun(md.trajectory, md.label, md.n_evaluations, 1.25),
        forward={"EUBO − ELBO": 0.25, "ELBO": -np.inf, "warning": "a mode is missing"},
    )
    assert written["comparison"] == tmp_path / "comparison.png"
    assert written["weights for PLUMED"] == tmp_path / "trajectory.colvar"
    assert written["weights"] == tmp_path / "trajectory.weights.npz"
    numbers = json.loads(written["numbers"].read_text())
    assert numbers["log Z"] == pytest.approx(weighted_dipeptide.log_Z)
    assert numbers["free energy / kJ/mol"] == pytest.approx(-KT * weighted_dipeptide.log_Z)
    assert numbers["forward diagnostics"] == {"EUBO − ELBO": 0.25, "ELBO": None, "warning": "a mode is missing"}
    ours, theirs = numbers["comparison"]
    assert (ours["energy evaluations"], theirs["energy evaluations"]) == (2_000_040, 4_949)
    assert sum(row["population"] for row in theirs["basins"].values()) == pytest.approx(1)
    report = written["report"].read_text()
    assert report.index("<strong>Warning:</strong> a mode is missing") < report.index("<th>result</th>")
    for text in (
        f"<th>log Z</th><td>{weighted_dipeptide.log_Z:.4f} ±",
        "absolute free energy −kT log Z",
        "2,000,000",
        "<td>EUBO − ELBO</td><td>0.25</td>",
        "<th>molecular dynamics, 4.9 ps</th>",
        "<td>population of C7ax</td>",
    ):
        assert text in report


def test_results_without_weights_claim_no_log_z(weighted_dipeptide, tmp_path):
    even = weighted_dipeptide._replace(log_weights=torch.zeros(40))
    written = write_results(even, tmp_path, name="dipeptide")
    numbers = json.loads(written["numbers"].read_text())
    assert "log Z" not in numbers and numbers["cost"] == [] and "comparison" not in numbers
    assert "weights for PLUMED" not in written and "Warning" not in written["report"].read_text()


def test_mdanalysis(weighted_dipeptide):
    pytest.importorskip("MDAnalysis")
    universe, weights = weighted_dipeptide.to_mdanalysis()
    assert len(universe.trajectory) == 40 and weights == pytest.approx(weighted_dipeptide.weights.numpy())
    assert universe.trajectory[7].positions == pytest.approx(10 * weighted_dipeptide.x[7].numpy(), abs=1e-5)
    phi = universe.select_atoms("resname ALA").residues[0].phi_selection().dihedral
    found = [phi.value() for _ in universe.trajectory]
    assert found == pytest.approx(torsion_angles(weighted_dipeptide, "phi"), abs=1e-3)
    assert len(universe.bonds) == 21 and universe.select_atoms("element C").n_atoms == 6


def test_without_mdanalysis_there_is_a_hint(weighted_dipeptide, gaussian, monkeypatch):
    monkeypatch.setitem(sys.modules, "MDAnalysis", None)
    with pytest.raises(ImportError, match=r"pip install openmm_diffsampler\[mdanalysis\]"):
        weighted_dipeptide.to_mdanalysis()
    with pytest.raises(TypeError, match="no topology"):
        gaussian(5, seed=0).to_mdanalysis()
