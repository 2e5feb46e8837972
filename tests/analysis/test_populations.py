import numpy as np
import pytest

from openmm_diffsampler.analysis import (
    WeightedTrajectory,
    basin_populations,
    population,
    population_text,
    unvisited_bound,
)


def test_errors_of_a_rare_state_are_honest(markov):
    """Over 300 runs, four slow chains that visit a state of 3 % scatter by what they report, within 25 %."""
    rng = np.random.default_rng(5)
    values, errors = [], []
    for _ in range(300):
        inside = markov(rng, (0.97, 0.03), 0.9, 1000, 4) == 1
        wt = WeightedTrajectory.from_chains(np.zeros((1000, 4, 1)))
        value, error = population(wt, inside.T.ravel())
        values.append(value)
        errors.append(error)
    assert np.mean(values) == pytest.approx(0.03, rel=0.1)
    assert np.sqrt(np.nanmean(np.square(errors))) == pytest.approx(np.std(values), rel=0.25)


def test_one_visit_is_worth_its_population():
    inside = np.zeros(4000, dtype=bool)
    inside[1300:1340] = True
    wt = WeightedTrajectory.from_chains(np.zeros((1000, 4, 1)))
    value, error = population(wt, inside)
    assert value == 0.01 and 0.005 < error < 0.02


def test_unvisited_basins_have_a_bound(dipeptide, with_torsions):
    rng = np.random.default_rng(6)
    x = with_torsions(rng.normal(-75, 10, 4000), rng.normal(140, 10, 4000)).reshape(1000, 4, 22, 3)
    wt = WeightedTrajectory.from_chains(x, topology=dipeptide)
    populations = basin_populations(wt)
    value, error = populations["C7ax"]
    assert value == 0 and np.isnan(error) and f"{value:.4f} ± {error:.4f}" == "0.0000 ± nan"
    assert unvisited_bound(wt) == pytest.approx(3 / wt.effective_sample_size) and 5e-4 < unvisited_bound(wt) < 1.2e-3


def test_always_visited_states_have_no_error():
    value, error = population(WeightedTrajectory.from_chains(np.zeros((100, 4, 1))), np.ones(400))
    assert value == 1 and np.isnan(error) and population_text(value, error, 0.1) == "1 (no other visited)"


def test_frames_of_no_weight_visit_nothing():
    wt = WeightedTrajectory(np.zeros((3, 1)), np.array([0.0, 0.0, -np.inf]), kind="importance")
    assert population(wt, [False, False, True]).value == 0
    assert np.isnan(population(wt, [False, False, True]).standard_error)


@pytest.mark.parametrize(
    ("value", "error", "bound", "text"),
    [
        (0.5, 0.1, 0.1, "0.500 ± 0.100"),
        (0.00025, 7e-5, 1e-4, "0.00025 ± 0.00007"),
        (0.0, np.nan, 0.3, "not visited (< 0.30)"),
        (0.0, None, 1.0, "not visited (< 1.00)"),
        (0.0, None, 0.000051, "not visited (< 0.000051)"),
    ],
)
def test_populations_in_words(value, error, bound, text):
    assert population_text(value, error, bound) == text
