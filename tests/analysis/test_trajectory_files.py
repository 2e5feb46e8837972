import importlib.util
import shutil

import mdtraj as md
import numpy as np
import pytest
import torch
from openmm import unit

from openmm_diffsampler.analysis import WeightedTrajectory, trajectory_files

#: Largest rounding in nm that a format may do to coordinates of a few nm.
TOLERANCE = {
    ".dcd": 1e-6,
    ".xtc": 6e-4,
    ".trr": 1e-6,
    ".nc": 1e-6,
    ".h5": 1e-6,
    ".pdb": 6e-5,
    ".cif": 1e-5,
    ".gro": 6e-4,
    ".mdcrd": 6e-5,
    ".xyz": 6e-5,
    ".npz": 0,
}
FIELDS = ("log_weights", "reduced_potential", "log_q", "chain", "draw")
needs_tables = pytest.mark.skipif(importlib.util.find_spec("tables") is None, reason="tables is not installed")
FORMATS = [pytest.param(s, marks=needs_tables) if s == ".h5" else s for s in trajectory_files.SUFFIXES]


def assert_same(loaded, wt, tolerance=0.0):
    assert loaded.kind == wt.kind and loaded.x.shape == wt.x.shape
    assert (loaded.x.double() - wt.x.double()).abs().max() <= tolerance
    for name in FIELDS:
        a, b = getattr(loaded, name), getattr(wt, name)
        assert (a is None and b is None) or torch.equal(a, b), name
    assert loaded.source_effective_sample_size == wt.source_effective_sample_size


@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip(weighted_dipeptide, tmp_path, suffix):
    path = tmp_path / f"run.1{suffix}"
    written = weighted_dipeptide.save(path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    loaded = WeightedTrajectory.load(path)
    assert_same(loaded, weighted_dipeptide, TOLERANCE[suffix])
    assert loaded.temperature.value_in_unit(unit.kelvin) == 300
    assert loaded.topology == weighted_dipeptide.topology
    assert len(loaded + weighted_dipeptide) == 80
    # What was rounded once is not rounded again.
    loaded.save(tmp_path / f"again{suffix}")
    assert_same(WeightedTrajectory.load(tmp_path / f"again{suffix}"), loaded)


@pytest.mark.parametrize("kind", ["mcmc", "resampled"])
def test_round_trip_of_other_kinds(dipeptide_chains, weighted_dipeptide, tmp_path, kind):
    wt = dipeptide_chains if kind == "mcmc" else weighted_dipeptide.resample(30)
    wt.save(tmp_path / "a.dcd")
    assert_same(WeightedTrajectory.load(str(tmp_path / "a.dcd")), wt, 1e-6)


def test_single_frame(weighted_dipeptide, tmp_path):
    weighted_dipeptide[3].save(tmp_path / "a.dcd")
    assert_same(WeightedTrajectory.load(tmp_path / "a.dcd"), weighted_dipeptide[3], 1e-6)


@pytest.mark.parametrize("suffix", [".dcd", ".npz"])
def test_particles_in_the_plane(tmp_path, suffix):
    topology = md.Topology()
    chain = topology.add_chain()
    for i in range(4):
        topology.add_atom(f"P{i}", md.element.virtual, topology.add_residue("DW", chain))
    x = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(0))
    wt = WeightedTrajectory(x, torch.arange(6.0), kind="importance", topology=topology)
    wt.save(tmp_path / f"dw4{suffix}")
    loaded = WeightedTrajectory.load(tmp_path / f"dw4{suffix}")
    assert_same(loaded, wt, 1e-6)
    assert loaded.trajectory.xyz.shape == (6, 4, 3) and loaded.temperature is None


def test_density_keeps_full_precision(gaussian, tmp_path):
    wt = gaussian(50, seed=0)
    assert wt.save(tmp_path / "g.npz") == [tmp_path / "g.npz"] == list(tmp_path.iterdir())
    assert_same(WeightedTrajectory.load(tmp_path / "g.npz"), wt)
    assert WeightedTrajectory.load(tmp_path / "g.npz").x.dtype == torch.float64
    with pytest.raises(TypeError, match=r"save densities as g\.npz"):
        wt.save(tmp_path / "g.dcd")


def test_refusals_write_nothing(weighted_dipeptide, gaussian, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"suffix '.arc'; supported are \.dcd, \.xtc"):
        weighted_dipeptide.save(tmp_path / "a.arc")
    with pytest.raises(ValueError, match="has no temperature"):
        gaussian(5, seed=0).save(tmp_path / "a.npz", plumed=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install openmm_diffsampler\[h5\]"):
        weighted_dipeptide.save(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_existing_files_are_kept_on_request(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    (tmp_path / "a.dcd").unlink()
    with pytest.raises(FileExistsError, match=r"a\.weights\.npz"):
        weighted_dipeptide[:5].save(tmp_path / "a.dcd", overwrite=False)
    assert not (tmp_path / "a.dcd").exists()
    weighted_dipeptide[:5].save(tmp_path / "a.dcd")
    assert len(WeightedTrajectory.load(tmp_path / "a.dcd")) == 5


def test_swapped_weights_are_refused(weighted_dipeptide, tmp_path):
    weighted_dipeptide[:20].save(tmp_path / "a.dcd")
    weighted_dipeptide[20:].save(tmp_path / "b.dcd")
    shutil.copy(tmp_path / "a.weights.npz", tmp_path / "b.weights.npz")
    with pytest.raises(ValueError, match=r"b\.weights\.npz does not belong to .*b\.dcd.*in a\.dcd"):
        WeightedTrajectory.load(tmp_path / "b.dcd")


def test_reordered_frames_are_refused(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    weighted_dipeptide.trajectory[::-1].save(str(tmp_path / "a.dcd"))
    with pytest.raises(ValueError, match="does not belong"):
        WeightedTrajectory.load(tmp_path / "a.dcd")


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_killed_save_leaves_no_wrong_pair(weighted_dipeptide, tmp_path, monkeypatch, renames):
    """Whichever rename a save dies at, the folder holds the old pair or one that is refused, and no leftovers."""
    old, new = weighted_dipeptide[:20], weighted_dipeptide[20:]
    old.save(tmp_path / "a.dcd")
    replace, done = trajectory_files.os.replace, []

    def dying(source, destination):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(replace(source, destination))

    monkeypatch.setattr(trajectory_files.os, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        new.save(tmp_path / "a.dcd")
    assert {p.name for p in tmp_path.iterdir()} == {"a.dcd", "a.weights.npz", "a.topology.pdb"}
    if renames == 0:
        assert_same(WeightedTrajectory.load(tmp_path / "a.dcd"), old, 1e-6)
    else:
        with pytest.raises(ValueError, match="does not belong"):
            WeightedTrajectory.load(tmp_path / "a.dcd")


def test_failed_write_keeps_the_old_files(weighted_dipeptide, tmp_path, monkeypatch):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    monkeypatch.setattr(md.Trajectory, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        weighted_dipeptide[:5].save(tmp_path / "a.dcd")
    assert_same(WeightedTrajectory.load(tmp_path / "a.dcd"), weighted_dipeptide, 1e-6)
    assert len(list(tmp_path.iterdir())) == 3


def test_missing_files(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    with pytest.raises(FileNotFoundError, match=r"b\.dcd does not exist"):
        WeightedTrajectory.load(tmp_path / "b.dcd")
    (tmp_path / "a.topology.pdb").rename(tmp_path / "top.pdb")
    for topology in (None, tmp_path / "top.pdb", str(tmp_path / "top.pdb"), weighted_dipeptide.topology):
        assert_same(WeightedTrajectory.load(tmp_path / "a.dcd", topology=topology), weighted_dipeptide, 1e-6)
    (tmp_path / "a.weights.npz").unlink()
    with pytest.raises(FileNotFoundError, match="copy both files"):
        WeightedTrajectory.load(tmp_path / "a.dcd", topology=weighted_dipeptide.topology)


def test_wrong_topology(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    with pytest.raises(ValueError, match="has 22 atoms and the topology 5"):
        WeightedTrajectory.load(tmp_path / "a.dcd", topology=weighted_dipeptide.topology.subset(range(5)))


def test_damaged_weights(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    weights = tmp_path / "a.weights.npz"
    for damaged in (weights.read_bytes()[:-200], b"", b"no archive"):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.weights\.npz is damaged"):
            WeightedTrajectory.load(tmp_path / "a.dcd")
    with open(weights, "wb") as file:
        np.savez(file, metadata=np.array([{"pickled": "object"}], dtype=object))
    with pytest.raises(ValueError, match="is damaged or was not written by"):
        WeightedTrajectory.load(tmp_path / "a.dcd")
    with pytest.raises(ValueError, match="holds weights alone"):
        WeightedTrajectory.load(weights)


def test_damaged_frames(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    (tmp_path / "a.dcd").write_bytes((tmp_path / "a.dcd").read_bytes()[:-3000])
    with pytest.raises(ValueError, match=r"a\.dcd"):
        WeightedTrajectory.load(tmp_path / "a.dcd")


def test_plumed_file(dipeptide, tmp_path):
    log_weights = torch.tensor([1.0, -torch.inf, 3.0], dtype=torch.float64)
    wt = WeightedTrajectory(
        torch.zeros(3, 22, 3), log_weights, kind="importance", topology=dipeptide, temperature=300 * unit.kelvin
    )
    assert tmp_path / "a.colvar" in wt.save(tmp_path / "a.dcd", plumed=True)
    assert (tmp_path / "a.colvar").read_text().splitlines()[0] == "#! FIELDS time logweight_kJ logweight.bias"
    kT = 8.31446261815324e-3 * 300
    expected = [[0, kT, -2 * kT], [1, -1e6, -1e6], [2, 3 * kT, 0]]
    assert np.loadtxt(tmp_path / "a.colvar") == pytest.approx(np.array(expected), rel=1e-8)


def test_exploded_draws(dipeptide, tmp_path):
    """A draw of weight zero may be anywhere: binary formats keep it, and text formats say that they cannot."""
    x = torch.ones(3, 22, 3)
    x[0, 5] = -3e9
    log_weights = torch.tensor([-torch.inf, 0.0, 0.0], dtype=torch.float64)
    wt = WeightedTrajectory(x, log_weights, kind="importance", topology=dipeptide)
    for suffix in (".dcd", ".nc", ".npz"):
        wt.save(tmp_path / f"a{suffix}")
        assert WeightedTrajectory.load(tmp_path / f"a{suffix}").x == pytest.approx(x, rel=1e-6)
    for suffix in (".pdb", ".gro", ".xtc"):
        with pytest.raises(ValueError, match=rf"{suffix} cannot hold these coordinates.* 3e\+09 nm; \.dcd"):
            wt.save(tmp_path / f"b{suffix}")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(("b", "."))]
