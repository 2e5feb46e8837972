"""Chains of a four-bead molecule with torsions that are known: names, wells, convergence and populations."""

import json

import mdtraj as md
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import (
    WeightedTrajectory,
    conformer_populations,
    find_wells,
    molecule_torsions,
    plot_torsion_convergence,
    torsion_convergence,
    well_populations,
    write_results,
)

#: Six atoms in a row, hence three torsions about rotatable bonds.
_N_ATOMS = 6
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def hexane():
    topology = md.Topology()
    residue = topology.add_residue("HEX", topology.add_chain())
    atoms = [topology.add_atom(f"C{i + 1}", md.element.carbon, residue) for i in range(_N_ATOMS)]
    for i in range(_N_ATOMS - 1):
        topology.add_bond(atoms[i], atoms[i + 1])
    return topology


@pytest.fixture(scope="module")
def chains_of(hexane):
    """Function of angles (n_draws, n_chains, 3) in degrees -> WeightedTrajectory whose three torsions these are."""

    def build(angles, **changes):
        n_draws, n_chains, _ = angles.shape
        x = np.zeros((n_draws * n_chains, _N_ATOMS, 3))
        x[:, 0], x[:, 2] = (0.05, 0.14, 0), (0.15, 0, 0)
        for i in range(3):
            a, b, c = x[:, i], x[:, i + 1], x[:, i + 2]
            bond = (c - b) / np.linalg.norm(c - b, axis=1, keepdims=True)
            normal = np.cross(b - a, bond)
            normal /= np.linalg.norm(normal, axis=1, keepdims=True)
            turn = np.radians(angles.reshape(-1, 3)[:, i, None])
            outward = np.cos(turn) * np.cross(normal, bond) + np.sin(turn) * normal
            x[:, i + 3] = c + 0.15 * (0.34 * bond + 0.94 * outward)
        shape = (n_draws, n_chains, _N_ATOMS, 3)
        return WeightedTrajectory.from_chains(torch.as_tensor(x).reshape(shape), topology=hexane, **changes)

    return build


_CENTRES = np.array([-60.0, 60.0, 180.0])


def in_wells(rng, states):
    return _CENTRES[states] + rng.normal(0, 10, size=states.shape)


@pytest.fixture(scope="module")
def mixed(chains_of, markov):
    """Two torsions that mix, with populations 0.2, 0.3 and 0.5, and a third that never leaves the well it began in."""
    rng = np.random.default_rng(0)
    states = [markov(rng, (0.2, 0.3, 0.5), stay, 1000, 8) for stay in (0.0, 0.8)]
    states.append(np.broadcast_to(np.arange(8) % 3, (1000, 8)))
    angles = np.stack([in_wells(rng, s) for s in states], axis=-1)
    u = torch.as_tensor(rng.normal(size=(1000, 8)))
    return states, chains_of(angles, reduced_potential=u, temperature=300 * unit.kelvin)


def test_every_rotatable_bond_has_a_torsion(mixed):
    states, wt = mixed
    torsions = molecule_torsions(wt)
    assert [t.name for t in torsions] == ["C1-C2-C3-C4", "C2-C3-C4-C5", "C3-C4-C5-C6"]
    for torsion, truth in zip(torsions, states, strict=True):
        assert not torsion.symmetric
        assert [name.split()[0] for name in torsion.wells.names] == ["gauche-", "gauche+", "trans"]
        assert (torsion.state == truth.T.ravel()).mean() > 0.999


def test_populations_of_wells(mixed):
    """Within four standard errors of the truth, with the error that the correlation time of the chain gives."""
    _, wt = mixed
    for (_, wells), inefficiency in zip(
        list(well_populations(wt).items())[:2], (1, (1 + 0.8) / (1 - 0.8)), strict=True
    ):
        for name, p in {"gauche-": 0.2, "gauche+": 0.3, "trans": 0.5}.items():
            [(value, error)] = [estimate for well, estimate in wells.items() if well.startswith(name)]
            assert abs(value - p) < 4 * error
            assert error == pytest.approx(np.sqrt(p * (1 - p) * inefficiency / 8000), rel=0.25)


def test_transitions_and_r_hat(mixed):
    states, wt = mixed
    fast, slow, stuck = torsion_convergence(wt)
    for row, truth in zip((fast, slow, stuck), states, strict=True):
        assert row.transitions == pytest.approx((truth[1:] != truth[:-1]).sum(0), abs=5)
    assert fast.converged and slow.converged and fast.verdict == "yes"
    assert fast.effective_sample_size > 4 * slow.effective_sample_size
    assert stuck.r_hat > 1.5 and stuck.effective_sample_size < 20 and not stuck.transitions.any()
    assert stuck.verdict == "no: chains stay in their wells"


def test_one_chain_elsewhere_is_seen(chains_of, markov):
    rng = np.random.default_rng(1)
    states = markov(rng, (0.2, 0.3, 0.5), 0.0, 500, 8)
    states[:, 0] = 0
    wt = chains_of(np.stack([in_wells(rng, states)] * 3, axis=-1))
    assert torsion_convergence(wt)[0].verdict == "no: R-hat above 1.01"
    short = wt[wt.draw.numpy() < 3]
    assert torsion_convergence(short)[0].verdict == "unknown: chains too short"


def test_conformers(mixed):
    """The first two torsions are independent, and the third has a well for each chain."""
    _, wt = mixed
    names, conformers = conformer_populations(wt, molecule_torsions(wt)[:2])
    assert names == ("C1-C2-C3-C4", "C2-C3-C4-C5")
    assert len(conformers) == 9 and sum(e.value for e in conformers.values()) == pytest.approx(1)
    assert [e.value for e in conformers.values()] == sorted((e.value for e in conformers.values()), reverse=True)
    p = {"gauche-": 0.2, "gauche+": 0.3, "trans": 0.5}
    for wells, (value, error) in conformers.items():
        assert abs(value - np.prod([p[well.split()[0]] for well in wells])) < 4 * error
    few = conformer_populations(wt, molecule_torsions(wt)[:2], minimum=0.1, most=3)[1]
    assert list(few) == list(conformers)[:3]


@pytest.mark.parametrize("weights", [None, "uneven"])
def test_wells_of_a_known_density(weights):
    """Maxima at ±60° and 180°, minima between; weights are those of another density's samples."""
    rng = np.random.default_rng(2)
    angles = rng.uniform(-180, 180, 40_000)
    density = np.exp(2 * np.cos(np.radians(3 * (angles - 60))))
    if weights is None:
        angles = rng.choice(angles, 5000, p=density / density.sum())
        wells = find_wells(angles)
    else:
        wells = find_wells(angles, density / density.sum())
    assert np.abs(wells.centres) == pytest.approx([60, 60, 180], abs=8)
    assert wells.boundaries == pytest.approx([-120, 0, 120], abs=8)
    assert wells.limits(wells.assign([0.0 + 20])[0]) == pytest.approx((0, 120), abs=8)


def test_noise_makes_no_wells():
    rng = np.random.default_rng(3)
    for n in (5, 50, 500, 50_000):
        assert len(find_wells(rng.uniform(-180, 180, n))) == 1
        assert len(find_wells(rng.normal(0, 25, n))) == 1
    assert find_wells(np.full(100, -180.0)).names == ("trans (-180°)",)


def test_a_rare_well_is_found():
    """Twenty of 20,000 frames, on the other side."""
    angles = np.concatenate([np.random.default_rng(4).normal(-70, 15, 19_980), np.linspace(50, 60, 20)])
    wells = find_wells(angles, named=False)
    assert [len(wells), *np.bincount(wells.assign(angles))] == [2, 19_980, 20]


def test_symmetric_ends():
    """Three like atoms at one end make a methyl group; two make a carboxylate where all lie in a plane."""
    topology = md.Topology()
    residue = topology.add_residue("ACE", topology.add_chain())
    atoms = [topology.add_atom(f"{e}{i}", md.element.get_by_symbol(e), residue) for i, e in enumerate("HHHCCCOO")]
    for i, j in ((0, 3), (1, 3), (2, 3), (3, 4), (4, 5), (5, 6), (5, 7)):
        topology.add_bond(atoms[i], atoms[j])
    x = torch.randn(20, 2, 8, 3, generator=torch.Generator().manual_seed(0))
    x[..., 4:, 2] = 0
    methyl, carboxylate = molecule_torsions(WeightedTrajectory.from_chains(x, topology=topology))
    assert methyl.symmetric and carboxylate.symmetric
    x[..., 5, 2] = 0.5
    assert [t.symmetric for t in molecule_torsions(WeightedTrajectory.from_chains(x, topology=topology))] == [
        True,
        False,
    ]


def test_figure(mixed, tmp_path):
    _, wt = mixed
    figure = plot_torsion_convergence(wt, tmp_path / "t.png", name="hexane")
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)
    assert figure.get_suptitle() == "hexane: 2 of 3 torsions converged"
    first, *others = figure.axes
    assert first.get_title().startswith("C3-C4-C5-C6\nR-hat ") and first.title.get_color() != "black"
    assert [axes.title.get_color() for axes in others] == ["black", "black"]
    # Where chains stay in their wells, some have all their density in one of them.
    for axes, stuck in ((first, True), (others[0], False)):
        band = axes.collections[0].get_paths()[0].vertices[:, 1].max()
        assert (band > 1.8 * axes.lines[0].get_ydata().max()) == stuck
    with pytest.raises(ValueError, match="no torsions"):
        plot_torsion_convergence(wt, rows=[])


def test_chains_are_needed(weighted_dipeptide):
    with pytest.raises(ValueError, match="'importance'"):
        torsion_convergence(weighted_dipeptide)


def test_results_say_what_has_not_converged(mixed, tmp_path):
    _, wt = mixed
    written = write_results(wt, tmp_path, name="hexane")
    assert written["convergence of torsions"] == tmp_path / "torsions_convergence.png"
    assert (tmp_path / "torsions_convergence.png").stat().st_size > 10_000
    numbers = json.loads((tmp_path / "diagnostics.json").read_text())
    assert numbers["torsions"][0]["torsion"] == "C3-C4-C5-C6" and numbers["torsions"][0]["transitions"] == 0
    assert numbers["torsions"][0]["converged"].startswith("no") and numbers["torsions"][1]["converged"] == "yes"
    assert len(numbers["wells"]) == 9 and len(numbers["conformers"]) == 20 and numbers["basins"] == []
    assert sum(row["population"] for row in numbers["wells"]) == pytest.approx(3)
    report = written["report"].read_text()
    for text in (
        "Not converged. At worst C3-C4-C5-C6",
        "no: chains stay in their wells",
        "conformers, from 1 %",
    ):
        assert text in report


def test_results_of_importance_samples_have_populations(weighted_dipeptide, tmp_path):
    written = write_results(weighted_dipeptide, tmp_path, name="dipeptide")
    numbers = json.loads(written["numbers"].read_text())
    assert numbers["torsions"] == [] and "convergence of torsions" not in written
    assert {row["torsion"] for row in numbers["wells"]} >= {"phi", "psi"} and len(numbers["basins"]) == 5
