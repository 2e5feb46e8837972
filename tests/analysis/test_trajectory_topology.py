"""Topologies of saved trajectories: every atom, name and bond comes back, whatever a PDB file can tell."""

import json
import random

import mdtraj as md
import numpy as np
import pytest
import torch

from openmm_diffsampler._common.sealed_files import UnsealedFileWarning
from openmm_diffsampler._common.topologies import topology_entries
from openmm_diffsampler.analysis import WeightedTrajectory, trajectory_files
from openmm_diffsampler.analysis.trajectory_archive import read_archive

TEXT_FORMATS = (".pdb", ".cif", ".gro", ".xyz")


def build(names, residue="LIG", bonds=(), **residue_fields):
    topology = md.Topology()
    inside = topology.add_residue(residue, topology.add_chain(), **residue_fields)
    atoms = [topology.add_atom(name, md.element.carbon, inside) for name in names]
    for a, b in bonds:
        topology.add_bond(atoms[a], atoms[b])
    return topology


def ring_of_residues():
    """Alanines whose last is bonded to the first, a bond that no PDB file of theirs tells."""
    topology = md.Topology()
    chain, ends = topology.add_chain(), []
    for _ in range(3):
        residue = topology.add_residue("ALA", chain)
        atoms = [topology.add_atom(n, md.element.get_by_symbol(n[0]), residue) for n in ("N", "CA", "C", "O", "CB")]
        for a, b in ((0, 1), (1, 2), (2, 3), (1, 4)):
            topology.add_bond(atoms[a], atoms[b])
        ends.append(atoms)
    for i in range(3):
        topology.add_bond(ends[i][2], ends[(i + 1) % 3][0])
    return topology


def charged():
    topology = build(["C1", "C2"])
    topology.atom(0).formal_charge, topology.atom(1).formal_charge = -12, np.int64(1)
    return topology


def disordered():
    """An atom of the first residue comes after those of the second."""
    topology = md.Topology()
    chain = topology.add_chain()
    first, second = (topology.add_residue("LIG", chain) for _ in range(2))
    for name, residue in (("C1", first), ("C2", second), ("C3", first)):
        topology.add_atom(name, md.element.carbon, residue)
    topology.add_bond(topology._atoms[0], topology._atoms[2])
    return topology


ODD = {
    "a ring of residues": ring_of_residues(),
    "five letters": build([f"C{1000 + i}" for i in range(6)], bonds=[(0, 5), (1, 2)]),
    "names alike": build(["C", "C", "C", "C"], bonds=[(0, 3)]),
    "no names": build(["", "", ""]),
    "letters outside ASCII, spaces and line ends": build(["Cα", "C β", "C\nγ", "C'"], residue="é"),
    "a long residue": build(["C1", "C2"], residue="TRYPTOPHANE"),
    "a large residue number": build(["C1", "C2"], resSeq=123_456),
    "a negative residue number": build(["C1", "C2"], resSeq=-7),
    "a long segment": build(["C1", "C2"], segment_id="SEGMENT"),
    "charges": charged(),
}


@pytest.mark.parametrize("suffix", [".dcd", *TEXT_FORMATS, ".npz"])
@pytest.mark.parametrize("what", ODD)
def test_odd_topologies(tmp_path, what, suffix):
    topology = ODD[what]
    x = torch.randn(3, topology.n_atoms, 3, generator=torch.Generator().manual_seed(0))
    wt = WeightedTrajectory(x, torch.arange(3.0), kind="importance", topology=topology)
    wt.save(tmp_path / f"a{suffix}")
    loaded = WeightedTrajectory.load(tmp_path / f"a{suffix}")
    assert topology_entries(loaded.topology) == topology_entries(topology)
    assert loaded.x == pytest.approx(x, abs=6e-4)
    # Other programs read as many atoms, and tell them apart.
    beside = md.load(str(tmp_path / "a.topology.pdb"))
    assert beside.n_atoms == topology.n_atoms
    assert beside.xyz[0] == pytest.approx(x[0].numpy(), abs=6e-5)


def test_atoms_out_of_order(tmp_path):
    """mdtraj lets one add to a residue that is not the last; each stretch of atoms comes back as a residue."""
    x = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0))
    WeightedTrajectory(x, torch.zeros(3), kind="importance", topology=disordered()).save(tmp_path / "a.pdb")
    loaded = WeightedTrajectory.load(tmp_path / "a.pdb")
    assert [atom.name for atom in loaded.topology.atoms] == ["C1", "C2", "C3"]
    assert [(a.index, b.index) for a, b in loaded.topology.bonds] == [(0, 2)]
    assert loaded.x == pytest.approx(x, abs=6e-5)


def test_more_atoms_than_a_pdb_file_counts(tmp_path):
    topology, n = md.Topology(), 100_100
    chain = topology.add_chain()
    for i in range(n // 100):
        residue = topology.add_residue("LIG", chain, resSeq=10 * i)
        for j in range(100):
            topology.add_atom(f"C{j}", md.element.carbon, residue, serial=100 * i + j)
    topology.add_bond(topology.atom(0), topology.atom(n - 1))
    x = torch.rand(1, n, 3, generator=torch.Generator().manual_seed(0))
    WeightedTrajectory(x, torch.zeros(1), kind="importance", topology=topology).save(tmp_path / "a.dcd")
    loaded = WeightedTrajectory.load(tmp_path / "a.dcd").topology
    assert loaded.n_atoms == n and [(a.index, b.index) for a, b in loaded.bonds] == [(0, n - 1)]
    assert loaded.atom(n - 1).residue.resSeq == topology.atom(n - 1).residue.resSeq == 10_000
    lines = (tmp_path / "a.topology.pdb").read_text().splitlines()
    assert sum(line.startswith("ATOM") for line in lines) == n and {len(x) for x in lines if x[:4] == "ATOM"} == {80}


def test_the_pdb_file_beside_is_for_others(weighted_dipeptide, tmp_path):
    """Whatever becomes of it, the topology is that of the weights file, and a change is told."""
    weighted_dipeptide.save(tmp_path / "a.dcd")
    beside, rng = tmp_path / "a.topology.pdb", random.Random(0)
    data, entries = beside.read_bytes(), topology_entries(weighted_dipeptide.topology)
    for _ in range(100):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
        beside.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"a\.topology\.pdb was changed after it was written, and is not read"):
            assert topology_entries(WeightedTrajectory.load(tmp_path / "a.dcd").topology) == entries
    beside.unlink()
    assert topology_entries(WeightedTrajectory.load(tmp_path / "a.dcd").topology) == entries


def as_earlier_version(path):
    """Rewrite the weights beside a file of frames as versions without checksums did."""
    weights = path.with_name(f"{path.stem}.weights.npz")
    arrays, metadata = read_archive(weights)
    del arrays["topology"]
    metadata = {name: value for name, value in metadata.items() if not name.endswith("_hash")}
    np.savez(weights, metadata=np.array(json.dumps(metadata)), **arrays)


def test_earlier_versions_have_it_in_the_pdb_file(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    as_earlier_version(tmp_path / "a.dcd")
    with pytest.warns(UnsealedFileWarning, match=r"a\.weights\.npz"):
        loaded = WeightedTrajectory.load(tmp_path / "a.dcd")
    assert loaded.topology == weighted_dipeptide.topology and torch.equal(loaded.log_q, weighted_dipeptide.log_q)
    (tmp_path / "a.topology.pdb").write_text("ATOM  no columns\n")
    with (
        pytest.warns(UnsealedFileWarning),
        pytest.raises(ValueError, match=r"a\.topology\.pdb cannot be read as a topology"),
    ):
        WeightedTrajectory.load(tmp_path / "a.dcd")
    (tmp_path / "a.topology.pdb").unlink()
    with pytest.warns(UnsealedFileWarning), pytest.raises(FileNotFoundError, match="pass topology="):
        WeightedTrajectory.load(tmp_path / "a.dcd")


def test_topologies_that_hold_code_are_not_read(weighted_dipeptide, tmp_path):
    weighted_dipeptide.save(tmp_path / "a.dcd")
    with pytest.raises(ValueError, match=r"b\.h5 may hold Python code.*mdtraj\.load_topology"):
        WeightedTrajectory.load(tmp_path / "a.dcd", topology=tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match=r"no file .*b\.pdb"):
        WeightedTrajectory.load(tmp_path / "a.dcd", topology=tmp_path / "b.pdb")


def test_topologies_that_fit_are_written_as_they_are():
    topology = ring_of_residues()
    assert trajectory_files.fitting_topology(topology) is topology
    assert trajectory_files.ordered_topology(topology) is topology
