"""The commands as a user types them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from openmm import unit

from openmm_diffsampler import WeightedTrajectory, save_system
from tests.integration.shell import completed, process
from tests.mcmc.torsion_chain import TorsionChain

SHORT = ["--chains", "8", "--draws", "40", "--warmup", "10", "--thinning", "1", "--no-progress"]


def test_systems_lists_the_built_in_ones(tmp_path):
    result = completed("systems", cwd=tmp_path)
    assert result.returncode == 0 and "alanine-dipeptide" in result.stdout and "lj55" in result.stdout


def test_run_killed_and_run_again_equals_a_whole_run(command, tmp_path):
    words = ["run", "alanine-dipeptide-vacuum", *SHORT, "--output"]
    whole = command(*words, "whole")
    assert whole.exit_code == 0, whole.stderr
    killed = subprocess.Popen(process(*words, "killed"), cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("killed/checkpoint/block-000000[123]*")) and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = command(*words, "killed")
    assert again.exit_code == 0 and "going on from the checkpoint" in again.stdout
    one, two = (WeightedTrajectory.load(tmp_path / name / "trajectory.dcd") for name in ("whole", "killed"))
    assert torch.equal(one.x, two.x) and torch.equal(one.reduced_potential, two.reduced_potential)
    names = {path.name for path in (tmp_path / "whole").iterdir()}
    assert {"ramachandran.png", "energy.png", "chains.png", "report.html", "trajectory.topology.pdb"} <= names
    numbers = json.loads((tmp_path / "whole" / "diagnostics.json").read_text())
    assert {"effective sample size", "R-hat"} <= set(numbers["observables"][0]) and len(numbers["levels"]) == 2
    refused = command(*words, "whole")
    assert refused.exit_code == 1 and "--overwrite" in refused.stderr
    analysed = command("analyse", "whole/trajectory.dcd")
    assert analysed.exit_code == 0 and (tmp_path / "whole/trajectory-analysis/report.html").exists()
    assert "whole/trajectory.dcd" in (tmp_path / "whole/trajectory-analysis/report.html").read_text()


def test_replica_exchange_and_coordinates(command):
    few = ["--chains", "2", "--draws", "4", "--warmup", "2", "--thinning", "1", "--no-progress"]
    hot = ["--hottest", "600", "--rungs", "3"]
    for words, sampler in (
        (["--method", "tempering", *hot], "ParallelTempering"),
        (["--coordinates", "internal", *hot], "InternalDiffusiveGibbs"),
        (["--torsion-scale", "1"], "DiffusiveGibbs (torsion_scale is given in Cartesian coordinates)"),
    ):
        result = command("run", "alanine-dipeptide-vacuum", *few, *words, "--overwrite")
        assert result.exit_code == 0 and f"sampler: {sampler}" in result.stdout, result.stderr
        assert ("swap 1–0.707 acceptance" in result.stdout) == ("--hottest" in words)
    for system, words, message in (
        ("alanine-dipeptide-vacuum", ["--coordinates", "internal", "--step-size", "1"], "belong to Cartesian"),
        ("alanine-dipeptide-vacuum", ["--coordinates", "polar"], "supported are 'auto'"),
        ("alanine-dipeptide-vacuum", ["--hottest", "200"], "leads nowhere"),
        ("alanine-dipeptide-vacuum", ["--rungs", "4"], "give the hottest temperature"),
        ("alanine-dipeptide-vacuum", ["--method", "hmc", *hot], "knows one temperature"),
        ("alanine-dipeptide-vacuum", ["--method", "mala", "--coordinates", "internal"], "Cartesian coordinates alone"),
        ("lj13", ["--coordinates", "internal"], "0 bonds"),
        ("lj13", ["--start", "conformers"], "chains start in the positions"),
        ("lj13", ["--method", "hmc", "--start", "conformers"], "chains of hmc start in the positions"),
        ("alanine-dipeptide-vacuum", ["--start", "nowhere"], "supported are 'conformers', 'positions'"),
        ("gmm40", ["--method", "tempering"], "hottest temperature"),
    ):
        result = command("run", system, *few, *words, "--output", "refused")
        assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.stderr


def test_densities_without_particles(command, tmp_path):
    result = command("run", "gmm40", "--chains", "50", "--draws", "20", "--no-progress")
    assert result.exit_code == 0, result.stderr
    assert len(WeightedTrajectory.load(tmp_path / "gmm40-run" / "trajectory.npz")) == 1000


FEW = ["buffer_size=64", "batch_size=16", "n_refresh=8", "n_refresh_levels=5", "width=8", "n_layers=1", "n_levels=20"]
TRAIN = ["train", "lj13", "--no-progress", *(word for setting in FEW for word in ("--setting", setting))]


def test_train_and_sample(command, tmp_path):
    trained = command(*TRAIN, "--steps", "50")
    assert trained.exit_code == 0, trained.stderr
    names = {path.name for path in (tmp_path / "lj13-idem").iterdir()}
    assert names == {"sampler.json", "model.safetensors", "metrics.csv", "tensorboard"}
    again = command(*TRAIN, "--steps", "50")
    assert again.exit_code == 1 and "--overwrite" in again.stderr
    sampled = command("sample", "lj13-idem", "-n", "20", "--no-progress")
    assert sampled.exit_code == 0, sampled.stderr
    assert "log Z" in sampled.stdout and (tmp_path / "lj13-samples" / "weights.png").exists()
    wt = WeightedTrajectory.load(tmp_path / "lj13-samples" / "trajectory.dcd")
    assert len(wt) == 20 and wt.kind == "importance" and wt.trajectory.n_atoms == 13
    refused = command("sample", "lj13-idem", "--no-progress")
    assert refused.exit_code == 1 and "--overwrite" in refused.stderr


def test_train_and_sample_a_molecule_of_ones_own(command, tmp_path):
    chain = TorsionChain(biases=(0.5, 0.2), height=4.0)
    target = chain.target
    folder = tmp_path / "elsewhere" / "chain"
    start = chain.start.numpy() * unit.nanometer
    save_system(folder, target.system, target.topology.to_openmm(), start, target.temperature)
    few = ["n_exploration=60000", "n_chains=32", "n_warmup=20", "batch_size=64", "width=8"]
    settings = [word for setting in few for word in ("--setting", setting)]
    trained = command("train", str(folder), "--steps", "20", "--no-progress", *settings)
    assert trained.exit_code == 0, trained.stderr
    assert json.loads((tmp_path / "chain-boltzmann" / "sampler.json").read_text())["method"] == "boltzmann"
    words = ["-n", "1500", "--compare", "3000", "--no-progress"]
    sampled = command("sample", "chain-boltzmann", *words)
    assert sampled.exit_code == 0, sampled.stderr
    assert "log Z" in sampled.stdout and "1,500 samples in" in sampled.stdout
    results = tmp_path / "chain-samples"
    assert {"trajectory.colvar", "weights.png", "report.html"} <= {path.name for path in results.iterdir()}
    report = (results / "report.html").read_text()
    assert "molecular dynamics" in report and "EUBO" in report
    assert len(WeightedTrajectory.load(results / "trajectory.dcd")) == 1500


def test_train_interrupted_and_run_again(command, tmp_path):
    call = process(*TRAIN, "--steps", "200")
    interrupted = subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "lj13-idem" / "metrics.csv").exists() and interrupted.poll() is None:
        time.sleep(0.02)
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate()
    assert interrupted.returncode == 130 and "the same command goes on from there" in " ".join(errors.split())
    again = command(*TRAIN, "--steps", "200")
    assert again.exit_code == 0 and "going on from the checkpoint" in again.stdout


def test_wrong_settings_are_one_line(command):
    for words, message in (
        (["--setting", "batch=3"], "no setting 'batch'"),
        (["--setting", "batch_size"], "name=value"),
        (["--method", "other"], "method is 'other'"),
        (["--preset", "best"], "preset is 'best'"),
    ):
        result = command("train", "gmm40", *words)
        assert result.exit_code == 1 and message in " ".join(result.stderr.split()), result.stderr
    shipped = Path(__file__).parents[2] / "systems/dw4/pretrained/dikl"
    result = command("sample", str(shipped), "--method", "idem")
    assert result.exit_code == 1 and "sampler of method 'dikl'" in " ".join(result.stderr.split())
    result = command("sample", "lj55")
    assert result.exit_code == 1 and "no weights" in result.stderr


def test_errors_are_one_line(tmp_path):
    result = completed("run", "alanin-dipeptide", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr and "alanine-dipeptide" in result.stderr


def test_import_is_silent_and_light(tmp_path):
    heavy = ("openmmtools", "mdtraj", "matplotlib")
    code = f"import sys, openmm_diffsampler; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.strip() == "[]" and result.stderr == ""
