import mdtraj as md
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import (
    ALANINE_DIPEPTIDE_BASINS,
    WeightedTrajectory,
    basin_populations,
    default_observables,
    free_energy_surface,
    molecule_torsions,
    torsion_angles,
)

PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)
KT = 8.31446261815324e-3 * 300


@pytest.fixture
def with_angles(dipeptide, with_torsions):
    def build(phi, psi, weights=None, **changes):
        log_weights = torch.zeros(len(phi)) if weights is None else torch.as_tensor(weights).log()
        fields = {"kind": "importance", "topology": dipeptide, "temperature": 300 * unit.kelvin} | changes
        return WeightedTrajectory(with_torsions(np.asarray(phi), np.asarray(psi)), log_weights, **fields)

    return build


def test_angles_by_name_and_by_atoms(with_angles):
    phi, psi = np.random.default_rng(0).uniform(-179, 179, size=(2, 100))
    wt = with_angles(phi, psi)
    for found, expected in (("phi", phi), (PHI, phi), ("phi:1", phi), ("psi", psi), (PSI[::-1], psi)):
        assert torsion_angles(wt, found) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("torsion", ["phi:2", "chi1", "phi:x", "phi:0", "theta"])
def test_unknown_torsions_list_what_exists(with_angles, torsion):
    with pytest.raises(ValueError, match=r"this molecule has phi, psi$"):
        torsion_angles(with_angles([0.0], [0.0]), torsion)


@pytest.mark.parametrize("atoms", [(0, 1, 2), (0, 1, 2, 22), (0, 1, 1, 2), (-1, 0, 1, 2)])
def test_wrong_atoms(with_angles, atoms):
    with pytest.raises(ValueError, match="four different atom indices below 22"):
        torsion_angles(with_angles([0.0], [0.0]), atoms)


def test_surface_of_weighted_points(with_angles):
    """Three points of known weight: F = kT ln(w_max/w), which lies on the right axis and in the right bin."""
    surface = with_angles([-65.0, -65.0, 65.0], [-45.0, 135.0, 45.0], weights=[0.5, 0.3, 0.2]).free_energy_surface(
        bins=36
    )
    bins = [(11, 13), (11, 31), (24, 22)]
    assert [surface.probability[b] for b in bins] == pytest.approx([0.5, 0.3, 0.2])
    assert [surface.free_energy[b] for b in bins] == pytest.approx([0, KT * np.log(5 / 3), KT * np.log(5 / 2)])
    assert np.isinf(surface.free_energy).sum() == 36**2 - 3
    assert surface.edges_a[11] == -70 and surface.edges_b[31] == 130
    assert (surface.label_a, surface.label_b) == ("phi", "psi")
    assert surface.effective_sample_size == pytest.approx(1 / 0.38)


def test_angles_wrap_around(with_angles):
    """Angles on both sides of 180 fall in the first and the last bin, and none is lost."""
    phi = [179.9, -179.9, 180.0, -180.0, 539.9]
    wt = with_angles(phi, [0.5] * 5)
    assert ((torsion_angles(wt, "phi") >= -180) & (torsion_angles(wt, "phi") < 180)).all()
    surface = free_energy_surface(wt, PHI, PSI, bins=60)
    assert surface.probability.sum() == pytest.approx(1)
    assert surface.probability[[0, -1]].sum() == pytest.approx(1)
    assert min(surface.probability[0].sum(), surface.probability[-1].sum()) >= 0.2 - 1e-9


def test_surface_of_a_known_distribution(with_angles):
    """p ~ exp(cos phi), weighted from uniform draws: marginal within four standard errors in every bin."""
    phi, psi = np.random.default_rng(1).uniform(-180, 180, size=(2, 20_000))
    surface = with_angles(phi, psi, weights=np.exp(np.cos(np.radians(phi)))).free_energy_surface(bins=6)
    fine = np.exp(np.cos(np.radians(np.linspace(-180, 180, 6001)[:-1] + 0.03))).reshape(6, 1000).sum(1)
    exact = np.tile((fine / fine.sum() / 6)[:, None], (1, 6))
    assert (np.abs(surface.probability - exact) < 4 * surface.standard_error).all()
    # Bins hold about p of 20,000 draws, so the relative error is near (20,000 p)^-1/2 = 4 % of 1/36.
    assert surface.standard_error.mean() == pytest.approx(1 / 36 * 0.045, rel=0.25)
    assert surface.total_variation(exact) < 0.03


def test_errors_of_importance_samples_are_those_of_expectations(with_angles):
    rng = np.random.default_rng(3)
    phi, psi = rng.uniform(-180, 180, size=(2, 300))
    wt = with_angles(phi, psi, weights=rng.uniform(0.1, 1, size=300))
    inside = (torsion_angles(wt, "phi") < 0) & (torsion_angles(wt, "psi") >= 0)
    for part in (wt, wt.resample(700)):
        kept = inside if part is wt else inside[part.draw.numpy()]
        assert part.free_energy_surface(bins=2).standard_error[0, 1] == pytest.approx(
            part.expectation(kept.astype(float)).standard_error
        )


def test_errors_of_chains_come_from_their_differences(with_angles):
    """Two chains of 3 and 1 draws in the left half: p = 1/2, spread between chains of 3/4 and 1/4."""
    chain = np.repeat([0, 1], 4)
    wt = with_angles([-90, -90, -90, 90, -90, 90, 90, 90], [90] * 8, kind="mcmc", chain=chain)
    surface = wt.free_energy_surface(bins=2)
    assert surface.probability.tolist() == [[0, 0.5], [0, 0.5]]
    assert surface.standard_error[0, 1] == pytest.approx(np.std([0.75, 0.25], ddof=1) / np.sqrt(2))
    assert surface.standard_error[0, 0] == 0
    assert wt[:4].free_energy_surface(bins=2).standard_error is None


def test_total_variation(with_angles):
    a = with_angles([-90.0, 90.0], [0.0, 0.0]).free_energy_surface(bins=4)
    b = with_angles([-90.0, -90.0], [0.0, 0.0]).free_energy_surface(bins=4)
    assert (a.total_variation(a), a.total_variation(b), b.total_variation(a.probability)) == (0, 0.5, 0.5)
    with pytest.raises(ValueError, match="has shape"):
        a.total_variation(np.ones((3, 3)) / 9)
    with pytest.raises(ValueError, match="sums to 16"):
        a.total_variation(np.ones((4, 4)))


def test_surface_refusals(with_angles, gaussian):
    with pytest.raises(ValueError, match="pass temperature="):
        with_angles([0.0], [0.0], temperature=None).free_energy_surface()
    with pytest.raises(ValueError, match="bins is 0"):
        with_angles([0.0], [0.0]).free_energy_surface(bins=0)
    with pytest.raises(TypeError, match="no topology"):
        gaussian(5, seed=0).free_energy_surface(temperature=300 * unit.kelvin)
    hot = with_angles([0.0, 90.0], [0.0, 0.0], weights=[2.0, 1.0]).free_energy_surface(temperature=600 * unit.kelvin)
    assert np.sort(hot.free_energy.ravel())[1] == pytest.approx(2 * KT * np.log(2))


def test_default_basins_tile_the_plane(with_angles):
    grid = np.stack(np.meshgrid(np.arange(-180, 180, 7.5) + 0.1, np.arange(-180, 180, 7.5) + 0.1)).reshape(2, -1)
    populations = basin_populations(with_angles(*grid))
    assert sum(p.value for p in populations.values()) == pytest.approx(1)
    for name, area in (("C7ax", 130 * 180), ("alpha_R", 230 * 170), ("C5 (beta)", 120 * 190)):
        assert populations[name].value == pytest.approx(area / 360**2, abs=0.03)


@pytest.mark.parametrize(
    ("name", "phi", "psi"),
    [
        ("C7eq (PPII)", -80, 70),
        ("C7eq (PPII)", -70, 150),
        ("C7eq (PPII)", -70, -170),
        ("C5 (beta)", -155, 160),
        ("C5 (beta)", 170, -175),
        ("alpha_R", -65, -40),
        ("alpha_L", 57, 47),
        ("C7ax", 75, -65),
    ],
)
def test_named_conformers_are_in_their_basin(with_angles, name, phi, psi):
    populations = basin_populations(with_angles([float(phi)] * 2, [float(psi)] * 2))
    assert set(populations) == set(ALANINE_DIPEPTIDE_BASINS)
    assert {key: p.value for key, p in populations.items() if p.value} == {name: pytest.approx(1)}


def test_basins_of_several_boxes(with_angles):
    wt = with_angles([-170.0, 170.0, 0.0], [0.0, 0.0, 0.0], weights=[1.0, 2.0, 5.0])
    basins = {
        "wrapped": [((160, -160), (-180, 180))],
        "pair": [((-180, -160), (-10, 10)), ((-10, 10), (-10, 10))],
    }
    populations = basin_populations(wt, basins=basins)
    assert populations["wrapped"].value == pytest.approx(3 / 8) and populations["pair"].value == pytest.approx(6 / 8)
    assert populations["wrapped"].standard_error == pytest.approx(wt.expectation([1, 1, 0]).standard_error)
    for wrong in ((0, 181), (5, 5)):
        with pytest.raises(ValueError, match="basin 'x' has the range"):
            basin_populations(wt, basins={"x": [(wrong, (0, 1))]})


def test_torsions_of_several_residues():
    """In a chain of three alanines, phi:2 is that of the third residue, and psi:2 that of the second."""
    topology = md.Topology()
    chain = topology.add_chain()
    for _ in range(3):
        residue = topology.add_residue("ALA", chain)
        for name in ("N", "CA", "C"):
            topology.add_atom(name, md.element.get_by_symbol(name[0]), residue)
    x = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(0))
    wt = WeightedTrajectory(x, torch.zeros(5), kind="importance", topology=topology)
    for name, atoms in {
        "phi:2": (5, 6, 7, 8),
        "psi:2": (3, 4, 5, 6),
        "phi": (2, 3, 4, 5),
        "omega": (1, 2, 3, 4),
    }.items():
        assert np.array_equal(torsion_angles(wt, name), torsion_angles(wt, atoms))
    with pytest.raises(ValueError, match="has phi, phi:2, psi, psi:2, omega, omega:2"):
        torsion_angles(wt, "phi:3")
    assert list(default_observables(wt))[::2] == ["cos phi:1", "cos phi:2", "cos psi:1", "cos psi:2"]


def test_torsions_copy_no_frames(dipeptide_chains, weighted_dipeptide, monkeypatch):
    """Angles are those of mdtraj to the last bit, and the frames are not copied to know them."""
    expected = [md.compute_dihedrals(wt.trajectory, [(4, 6, 8, 14)]) for wt in (dipeptide_chains, weighted_dipeptide)]
    monkeypatch.setattr(WeightedTrajectory, "trajectory", property(lambda self: pytest.fail("frames were copied")))
    for wt, angles in zip((dipeptide_chains, weighted_dipeptide), expected, strict=True):
        degrees = np.degrees(angles[:, 0].astype(np.float64))
        assert np.array_equal(torsion_angles(wt, "phi"), (degrees + 180) % 360 - 180)
        wt.free_energy_surface("phi", "psi", bins=6)
        basin_populations(wt)
        assert {"phi", "psi"} <= {torsion.name for torsion in molecule_torsions(wt)}
        assert set(default_observables(wt)) >= {"cos phi", "sin psi"}
