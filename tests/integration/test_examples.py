"""The examples run as they are, in their short form."""

import csv
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import mdtraj as md
import numpy as np
import pytest

import openmm_diffsampler as ods

FOLDER = Path(__file__).parents[2] / "examples"
ANALYSIS = FOLDER / "analyse_weighted.py"
EXAMPLES = sorted(set(FOLDER.glob("*.py")) - {ANALYSIS})
#: Markov chains, a trained generator, a script of OpenMM: one of each kind in every run of the tests.
QUICK = {"own_molecule", "edg", "openmm_script"}


def run(path, tmp_path, monkeypatch, *words):
    """As a script, in this process, which has imported already what takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[] if p.stem in QUICK else pytest.mark.slow) for p in EXAMPLES]
)
def test_example(path, tmp_path, monkeypatch, capsys):
    run(path, tmp_path, monkeypatch, "--short")
    assert "report.html" in capsys.readouterr().out and list(tmp_path.glob("*/report.html"))


def test_analysis_of_weighted_samples(tmp_path, monkeypatch):
    """Thermal noise on the built-in configuration, and φ turned about its bond; every hundredth frame counts twice."""
    molecule = ods.load_system("alanine-dipeptide")
    topology, rng = molecule.mdtraj_topology, np.random.default_rng(0)
    x = np.array(molecule.positions._value) + 0.004 * rng.normal(size=(400, 22, 3))
    _, n, ca, _ = md.geometry.dihedral.indices_phi(topology)[0]
    axis = x[:, ca] - x[:, n]
    wt = ods.WeightedTrajectory(
        _turned(x, axis, x[:, ca], np.arange(ca + 1, 22), rng.choice([2.0, -2.0], size=400, p=[0.8, 0.2])),
        np.where(np.arange(400) % 100 == 0, np.log(2), 0),
        kind="importance",
        topology=topology,
        temperature=molecule.temperature,
    )
    wt.save(tmp_path / "alanine-dipeptide-samples.dcd")
    run(ANALYSIS, tmp_path, monkeypatch, "alanine-dipeptide-samples.dcd", "analysis")
    with open(tmp_path / "analysis" / "results.csv", newline="") as file:
        rows = {row["quantity"]: row for row in csv.DictReader(file)}
    assert 0.1 < float(rows["population of phi > 0"]["value"]) < 0.3
    kT = 8.31446261815324e-3 * 300
    assert float(rows["absolute free energy -kT log Z"]["value"]) == pytest.approx(-kT * np.log(404 / 400), rel=1e-6)
    assert all(float(row["standard error"]) > 0 for row in rows.values() if "O...H below" not in row["quantity"])
    for name in ("ramachandran.png", "hydrogen_bond.png", "samples.colvar"):
        assert (tmp_path / "analysis" / name).stat().st_size > 5_000


def _turned(x, axis, origin, atoms, angle):
    """Rodrigues' rotation of some atoms about an axis, in each frame by an angle of its own."""
    k = (axis / np.linalg.norm(axis, axis=1, keepdims=True))[:, None]
    arm = x[:, atoms] - origin[:, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x = x.copy()
    turned = arm * cos + np.cross(k, arm) * sin + k * (k * arm).sum(2, keepdims=True) * (1 - cos)
    x[:, atoms] = turned + origin[:, None]
    return x


@pytest.mark.slow
def test_replica_exchange_goes_on_after_a_kill(tmp_path):
    call = [sys.executable, FOLDER / "replica_exchange.py", "--short"]
    killed = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert any("5 of 20 iterations" in line for line in killed.stdout)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    again = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "going on after iteration" in again.stdout
    # 20 iterations of 50 sweeps, whoever made them, and at most one that the kill undid.
    assert "300 K: 1,000 sweeps" in again.stdout or "300 K: 1,050 sweeps" in again.stdout


@pytest.mark.slow
def test_replica_exchange_starts_over_after_a_kill_before_the_first_iteration(tmp_path, monkeypatch, capsys):
    (tmp_path / "replica-exchange.nc").write_bytes(b"")
    run(FOLDER / "replica_exchange.py", tmp_path, monkeypatch, "--short")
    output = capsys.readouterr().out
    assert "starting over" in output and "300 K: 1,000 sweeps" in output
