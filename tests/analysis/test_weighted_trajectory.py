import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import Estimate, WeightedTrajectory

FIELDS = ("x", "log_weights", "reduced_potential", "log_q")


def importance(n=10, **changes):
    x = torch.arange(float(n))[:, None].repeat(1, 2)
    return WeightedTrajectory(x, changes.pop("log_weights", -x[:, 0]), kind="importance", **changes)


@pytest.mark.parametrize(
    "index",
    [
        slice(10, 20),
        slice(None, None, -3),
        [3, 1, 3],
        np.array([5, -1]),
        torch.tensor([2, 0]),
        torch.arange(40) % 3 == 0,
    ],
)
def test_selection_keeps_frames_and_weights_together(weighted_dipeptide, index):
    part = weighted_dipeptide[index]
    rows = np.arange(40)[np.asarray(index) if not isinstance(index, slice) else index]
    assert len(part) == part.n_frames == len(rows)
    for name in FIELDS:
        assert torch.equal(getattr(part, name), getattr(weighted_dipeptide, name)[rows.copy()])
    assert np.array_equal(part.trajectory.xyz, weighted_dipeptide.trajectory.xyz[rows])
    assert part.temperature == weighted_dipeptide.temperature


def test_int_selects_one_frame_and_iteration_ends(weighted_dipeptide):
    assert torch.equal(weighted_dipeptide[-1].x, weighted_dipeptide.x[39:])
    assert [float(frame.log_q) for frame in weighted_dipeptide] == weighted_dipeptide.log_q.tolist()


@pytest.mark.parametrize("index", [40, [], slice(5, 5), [[0, 1]], (0, 1), [True, False]])
def test_wrong_selections_raise(weighted_dipeptide, index):
    with pytest.raises(IndexError):
        weighted_dipeptide[index]


def test_joining_undoes_slicing(weighted_dipeptide):
    joined = weighted_dipeptide[:7] + weighted_dipeptide[7:30] + weighted_dipeptide[30:]
    for name in FIELDS:
        assert torch.equal(getattr(joined, name), getattr(weighted_dipeptide, name))
    assert joined.effective_sample_size == pytest.approx(weighted_dipeptide.effective_sample_size)


def test_joined_chains_stay_distinct(dipeptide_chains):
    joined = WeightedTrajectory.join([dipeptide_chains, dipeptide_chains[100:], dipeptide_chains])
    assert joined.chain.unique().tolist() == list(range(6 + 4 + 6))
    assert torch.equal(
        joined.draw, torch.cat([dipeptide_chains.draw, dipeptide_chains.draw[100:], dipeptide_chains.draw])
    )


def test_joining_chains_of_other_constant_weight():
    x = torch.zeros(5, 1)
    parts = [WeightedTrajectory(x, torch.full((5,), c), kind="mcmc") for c in (0.0, -3.0)]
    assert torch.equal(WeightedTrajectory.join(parts).weights, torch.full((10,), 0.1, dtype=torch.float64))


def test_joining_refuses_what_does_not_fit(dipeptide_chains, dipeptide):
    def chains(**changes):
        fields = {"topology": dipeptide, "reduced_potential": torch.zeros(5, 2), "temperature": 300 * unit.kelvin}
        return WeightedTrajectory.from_chains(torch.zeros(5, 2, 22, 3), **(fields | changes))

    other_atoms = dipeptide.copy()
    other_atoms.atom(0).name = "H9"
    wrong = {
        "kinds": importance(),
        "temperatures": chains(temperature=310 * unit.kelvin),
        "part 1 has no reduced_potential": chains(reduced_potential=None),
        "different atoms": chains(topology=other_atoms),
        "event shapes": WeightedTrajectory.from_chains(torch.zeros(5, 2, 3)),
    }
    assert len(dipeptide_chains + chains()) == 310
    for message, part in wrong.items():
        with pytest.raises(ValueError, match=message):
            dipeptide_chains + part
    with pytest.raises(ValueError, match="nothing to join"):
        WeightedTrajectory.join([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_weights": torch.zeros(9)}, r"log_weights has shape \(9,\), and there are 10 frames"),
        ({"log_weights": torch.tensor([np.nan] * 2 + [0.0] * 8)}, "log_weights is NaN in 2 of 10"),
        ({"log_weights": torch.tensor([np.inf] + [0.0] * 9)}, r"1 of 10 log-weights are \+inf"),
        ({"log_weights": torch.full((10,), -torch.inf)}, "all weights are zero"),
        ({"reduced_potential": torch.zeros(3)}, "reduced_potential has shape"),
        ({"log_q": torch.full((10,), torch.nan)}, "log_q is NaN"),
        ({"chain": torch.zeros(10, dtype=torch.int64)}, "importance samples are independent"),
        ({"source_effective_sample_size": 3.0}, "source_effective_sample_size"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        importance(**changes)


def test_more_refusals(dipeptide):
    x, zeros = torch.zeros(4, 2), torch.zeros(4)
    with pytest.raises(ValueError, match="kind is 'md'"):
        WeightedTrajectory(x, zeros, kind="md")
    with pytest.raises(ValueError, match="equal weights"):
        WeightedTrajectory(x, torch.arange(4.0), kind="mcmc")
    with pytest.raises(ValueError, match="infinite in a chain"):
        WeightedTrajectory(x, zeros, kind="mcmc", reduced_potential=zeros + torch.inf)
    with pytest.raises(TypeError, match="chain has dtype"):
        WeightedTrajectory(x, zeros, kind="mcmc", chain=zeros)
    with pytest.raises(TypeError, match="give float32 or float64"):
        WeightedTrajectory(x.int(), zeros, kind="mcmc")
    with pytest.raises(ValueError, match="the first is frame 2"):
        WeightedTrajectory(torch.tensor([[0.0], [1.0], [np.nan]]), zeros[:3], kind="importance")
    with pytest.raises(ValueError, match="22 atoms"):
        WeightedTrajectory(torch.zeros(4, 21, 3), zeros, kind="mcmc", topology=dipeptide)
    with pytest.raises(TypeError, match="without a unit"):
        WeightedTrajectory(x, zeros, kind="mcmc", temperature=300)
    with pytest.raises(ValueError, match="n_draws, n_chains"):
        WeightedTrajectory.from_chains(x)
    with pytest.raises(ValueError, match="reduced_potential has shape"):
        WeightedTrajectory.from_chains(torch.zeros(4, 2, 1), reduced_potential=torch.zeros(2, 4))


def test_from_chains_is_chain_major():
    u = torch.arange(6.0).reshape(3, 2)
    wt = WeightedTrajectory.from_chains(u[..., None].repeat(1, 1, 4), reduced_potential=u)
    assert wt.reduced_potential.tolist() == wt.x[:, 0].tolist() == [0, 2, 4, 1, 3, 5]
    assert wt.chain.tolist() == [0, 0, 0, 1, 1, 1] and wt.draw.tolist() == [0, 1, 2, 0, 1, 2]


def test_buffers_are_not_shared(dipeptide):
    x = torch.rand(3, 22, 3, generator=torch.Generator().manual_seed(0))
    wt = WeightedTrajectory(x, torch.zeros(3), kind="importance", topology=dipeptide)
    kept = x.clone()
    x.zero_()
    wt.trajectory.center_coordinates()
    assert torch.equal(wt.x, kept)
    assert np.array_equal(wt.trajectory.xyz, kept.numpy())


def test_trajectory_of_particles_in_the_plane():
    import mdtraj as md

    topology = md.Topology()
    residue = topology.add_residue("DW", topology.add_chain())
    for i in range(4):
        topology.add_atom(f"P{i}", md.element.virtual, residue)
    x = torch.rand(5, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wt = WeightedTrajectory(x, torch.zeros(5), kind="importance", topology=topology)
    assert wt.trajectory.xyz.dtype == np.float32
    assert np.array_equal(wt.trajectory.xyz, np.pad(x.float().numpy(), [(0, 0), (0, 0), (0, 1)]))


def test_density_has_no_trajectory():
    with pytest.raises(TypeError, match="no topology"):
        _ = importance().trajectory


def test_effective_sample_size_of_weights():
    wt = WeightedTrajectory(torch.zeros(4, 1), torch.tensor([0.0, 0.0, -torch.inf, np.log(2)]) + 900, kind="importance")
    assert wt.effective_sample_size == pytest.approx(16 / 6)
    assert wt.weights.tolist() == pytest.approx([0.25, 0.25, 0, 0.5])


def test_effective_sample_size_of_chains(ar1):
    """The slower of two coordinates counts: n(1 - rho)/(1 + rho) with rho = 0.9, within 15 %."""
    x = np.stack([ar1(0.9, 4000, 8, seed=1), ar1(0.2, 4000, 8, seed=2)], axis=-1)
    wt = WeightedTrajectory.from_chains(x)
    assert wt.effective_sample_size == pytest.approx(32_000 * 0.1 / 1.9, rel=0.15)
    assert list(wt.ess_by_observable) == ["coordinate 0", "coordinate 1"]
    shuffled = wt[np.random.default_rng(0).permutation(len(wt))]
    assert shuffled.effective_sample_size == pytest.approx(wt.effective_sample_size)


def test_descriptions(weighted_dipeptide, dipeptide_chains):
    ess = weighted_dipeptide.effective_sample_size
    expected = f"40 frames, importance weights; effective sample size {ess:.0f} of 40 ({ess / 40:.3f})"
    assert weighted_dipeptide.describe() == expected
    assert repr(weighted_dipeptide) == f"<WeightedTrajectory: {expected}>"
    ess = dipeptide_chains.effective_sample_size
    assert dipeptide_chains.describe() == (
        f"300 frames from 6 chains, equal weights (MCMC); effective sample size {ess:.0f} by autocorrelation "
        "(smallest of phi, psi, energy)"
    )


def test_log_z_of_a_gaussian(gaussian):
    wt = gaussian(20_000, seed=4)
    assert wt.log_Z == pytest.approx(0.5 * np.log(2 * np.pi), abs=3 * wt.log_Z_standard_error)
    assert 0 < wt.log_Z_standard_error < 0.01


def test_standard_errors_are_calibrated(gaussian):
    """Over 300 seeds, the errors of log Z and of <x^2> = 1 have a spread of one standard error, within 15 %."""
    z_scores = []
    for seed in range(300):
        wt = gaussian(500, seed)
        value, error = wt.expectation(lambda x: x[:, 0] ** 2)
        z_scores.append([(wt.log_Z - 0.5 * np.log(2 * np.pi)) / wt.log_Z_standard_error, (value - 1) / error])
    assert np.std(z_scores, axis=0) == pytest.approx(1, abs=0.15)
    assert np.abs(np.mean(z_scores, axis=0)).max() < 0.25


def test_standard_error_of_chains_is_calibrated(ar1):
    """Over 300 seeds, the error of the mean of AR(1) chains has a spread of one standard error, within 15 %."""
    z_scores = []
    for seed in range(300):
        value, error = WeightedTrajectory.from_chains(ar1(0.7, 300, 4, seed)[..., None]).expectation(lambda x: x[:, 0])
        z_scores.append(value / error)
    assert np.std(z_scores) == pytest.approx(1, abs=0.15)


def test_log_z_refuses_chains(dipeptide_chains, gaussian):
    with pytest.raises(TypeError, match="chains do not estimate Z"):
        _ = dipeptide_chains.log_Z
    with pytest.raises(TypeError, match="resampling has used the weights up"):
        _ = gaussian(10, 0).resample(5).log_Z_standard_error


def test_expectation_takes_functions_and_arrays(gaussian):
    wt = gaussian(100, seed=0)
    scalar = wt.expectation(lambda x: x[:, 0])
    vector = wt.expectation(torch.cat([wt.x, wt.x**2], 1).numpy())
    assert isinstance(scalar, Estimate) and isinstance(scalar.value, float) and isinstance(scalar.standard_error, float)
    assert vector.value.shape == vector.standard_error.shape == (2,)
    assert vector.value[0] == pytest.approx(scalar.value) and vector.standard_error[0] == pytest.approx(scalar[1])
    assert scalar.value == pytest.approx(float((wt.weights * wt.x[:, 0]).sum()))
    assert wt.expectation(torch.ones(100, 2, 3)).value.shape == (2, 3)


def test_expectation_refusals(gaussian):
    wt = gaussian(10, seed=0)
    with pytest.raises(ValueError, match="NaN or infinite in 10 of 10"):
        wt.expectation(torch.full((10,), torch.nan))
    with pytest.raises(ValueError, match="one entry for each of the 10 frames"):
        wt.expectation([1.0, 2.0])
    with pytest.raises(ValueError, match="one entry for each"):
        wt.expectation(lambda x: x.sum())


def test_frames_of_weight_zero_do_not_count():
    wt = importance(3, log_weights=torch.tensor([0.0, -torch.inf, 0.0]))
    assert wt.expectation([1.0, torch.inf, 3.0]).value == 2.0
    with pytest.raises(ValueError, match="the first is frame 2"):
        wt.expectation([1.0, torch.inf, torch.nan])


def test_one_frame_has_no_standard_error(gaussian):
    wt = gaussian(10, seed=0)[3]
    assert np.isnan(wt.expectation([2.0]).standard_error) and wt.expectation([2.0]).value == 2.0


def test_resampling_follows_the_weights():
    weights = torch.tensor([0.1, 0.0, 0.25, 0.65], dtype=torch.float64)
    wt = WeightedTrajectory(torch.arange(4.0)[:, None], weights.log() + 5, kind="importance")
    counts = np.bincount(wt.resample(1000, seed=3).x[:, 0].int().numpy(), minlength=4)
    assert np.abs(counts - 1000 * weights.numpy()).max() <= 1 and counts[1] == 0
    few = [wt.resample(3, seed=seed).x[:, 0].int().numpy() for seed in range(2000)]
    # On average exactly in proportion: 6000 draws, standard error at most 0.011.
    assert np.bincount(np.concatenate(few), minlength=4) / 6000 == pytest.approx(weights.numpy(), abs=0.03)


def test_resampling_keeps_pairs_and_is_seeded(weighted_dipeptide):
    drawn = weighted_dipeptide.resample(100, seed=1)
    assert drawn.kind == "resampled" and len(drawn.log_weights.unique()) == 1
    for name in ("x", "reduced_potential", "log_q"):
        assert torch.equal(getattr(drawn, name), getattr(weighted_dipeptide, name)[drawn.draw])
    assert torch.equal(drawn.draw, weighted_dipeptide.resample(100, seed=1).draw)
    assert any(not torch.equal(drawn.draw, weighted_dipeptide.resample(100, seed=s).draw) for s in range(2, 6))
    with pytest.raises(ValueError, match="at least one"):
        weighted_dipeptide.resample(0, seed=1)


def test_copies_are_not_independent(gaussian):
    wt = gaussian(1000, seed=0)
    many = wt.resample(50_000, seed=0)
    assert many.effective_sample_size == pytest.approx(wt.effective_sample_size, rel=0.01)
    assert many.expectation(lambda x: x[:, 0]).standard_error == pytest.approx(
        wt.expectation(lambda x: x[:, 0]).standard_error, rel=0.01
    )
    # Few draws are all different, so each counts.
    assert wt.resample(50, seed=0).effective_sample_size == pytest.approx(50)
    # Slicing keeps the count of copies, and joining that of independent parts.
    assert many[:25_000].effective_sample_size < 0.7 * wt.effective_sample_size
    assert (many + gaussian(1000, seed=1).resample(50_000)).effective_sample_size > 1.9 * wt.effective_sample_size
    assert "equal weights (resampled)" in repr(many)


def test_resampled_chains_stay_correlated(ar1):
    wt = WeightedTrajectory.from_chains(ar1(0.95, 2000, 4, seed=0)[..., None])
    drawn = wt.resample(4000, seed=0)
    assert drawn.effective_sample_size == pytest.approx(wt.effective_sample_size)
    expected = wt.expectation(lambda x: x[:, 0]).standard_error
    assert drawn.expectation(lambda x: x[:, 0]).standard_error == pytest.approx(expected, rel=0.05)
    assert set(drawn.chain.tolist()) == {0, 1, 2, 3}
