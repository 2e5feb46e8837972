"""Names of systems and folders that terminals, figures, pages and shells could take for something else."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from openmm_diffsampler import ManyWell, load_system
from openmm_diffsampler.analysis import WeightedTrajectory, plot_energy_histogram, plot_weights, write_results
from openmm_diffsampler.analysis.comparison_plots import plot_comparison
from openmm_diffsampler.analysis.plots import plot_chain_diagnostics
from openmm_diffsampler.analysis.surface_plots import plot_free_energy_surface
from openmm_diffsampler.analysis.torsion_plots import plot_torsion_convergence
from openmm_diffsampler.output_folder import default_folder

#: Markup of rich, an unfinished formula, HTML, quotes, a format, an emoji and a letter that is not ASCII.
ODD = "[red] [bold $x_$ <b>&\"' {0} %s :fire: é"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Folder of a density of that name."""
    folder = tmp_path / "systems" / "here"
    folder.mkdir(parents=True)
    entries = {"name": ODD, "density": "gmm40"}
    (folder / "system.yaml").write_text(yaml.safe_dump(entries, allow_unicode=True), encoding="utf-8")
    return folder


def test_commands_show_such_names_as_they_are(command, tmp_path, system):
    words = ["--chains", "4", "--draws", "6", "--warmup", "2"]
    ran = command("run", str(system), *words)
    assert ran.exit_code == 0 and ODD in ran.stdout, ran.stderr
    assert (tmp_path / f"{ODD}-run" / "energy.png").exists()
    page = (tmp_path / f"{ODD}-run" / "report.html").read_text(encoding="utf-8")
    assert "[red] [bold $x_$ &lt;b&gt;&amp;&quot;&#x27; {0} %s :fire: é" in page and "<b>" not in page
    refused = command("run", str(system), *words)
    assert refused.exit_code == 1 and ODD in refused.stderr
    analysed = command("analyse", f"{ODD}-run/trajectory.npz", "--name", ODD)
    assert analysed.exit_code == 0 and ODD in analysed.stdout, analysed.stderr
    trained = command(
        "train", str(system), "--method", "idem", "--steps", "2", "--setting", "batch_size=16", "--setting",
        "buffer_size=64", "--setting", "n_refresh=8", "--setting", "n_refresh_levels=3", "--setting", "n_levels=5",
    )  # fmt: skip
    assert trained.exit_code == 0 and ODD in trained.stdout, trained.stderr
    assert shlex.quote(f"{ODD}-idem") in trained.stdout
    for missing in ("[/red]", f"{ODD}/x", "$\\frac$", "é"):
        for words in (["run", missing], ["sample", missing], ["train", missing], ["analyse", missing]):
            result = command(*words)
            assert result.exit_code == 1 and result.stderr.startswith("error: "), result.stderr


def test_folders_of_results_stay_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("../../x", "/absolute", "..", "", "a\\b", "a\nb", "~", "x" * 500, ODD):
        folder = default_folder(name, "run")
        assert folder.resolve().parent == tmp_path
        folder.mkdir(exist_ok=True)


def test_progress_bars_show_such_names(capsys):
    from openmm_diffsampler import HMC
    from openmm_diffsampler.samplers.progress import sampling_progress, training_progress

    target = ManyWell(1)
    target.name = "[/red]"
    HMC(target, step_size=0.1).sample(torch.zeros(2), 2, n_chains=2, n_warmup=1, progress=True)
    with training_progress("[/red]", 2, 0, lambda: 1, True) as advance:
        advance(1, {"loss": 0.0})
    with sampling_progress("[/red]", 2, True) as advance:
        advance(2)
    assert capsys.readouterr().out.count("[/red]") >= 3


@pytest.fixture(scope="module")
def dipeptide() -> WeightedTrajectory:
    """Twenty draws of four chains."""
    molecule = load_system("alanine-dipeptide")
    x = 0.1 * torch.randn(20, 4, 22, 3, generator=torch.Generator().manual_seed(0))
    labels = {"topology": molecule.mdtraj_topology, "temperature": molecule.temperature}
    return WeightedTrajectory.from_chains(x, reduced_potential=x.square().sum((2, 3)), **labels)


@pytest.mark.parametrize("name", ["$x_$", "$\\frac$", "a$b$c"])
@pytest.mark.parametrize(
    "plot",
    [
        plot_energy_histogram,
        plot_chain_diagnostics,
        plot_torsion_convergence,
        lambda wt, path, name: plot_comparison(wt, wt, path, labels=(name, name), name=name),
        lambda wt, path, name: plot_free_energy_surface(wt.free_energy_surface(), path, name=name),
        lambda wt, path, name: plot_free_energy_surface(wt.free_energy_surface(), path, name=name, errors=True),
        lambda wt, path, name: plot_weights(
            WeightedTrajectory(wt.x, wt.log_weights, kind="importance"), path, name=name
        ),
    ],
)
def test_figures_take_no_name_for_a_formula(tmp_path, dipeptide, plot: Callable, name):
    path = tmp_path / "figure.png"
    figure = plot(dipeptide, path, name=name)
    assert path.read_bytes().startswith(b"\x89PNG")
    titles = [axes.get_title() for axes in figure.axes] + [figure.get_suptitle()]
    assert any(name in title for title in titles)


def test_figures_take_no_observable_for_a_formula(tmp_path, dipeptide):
    plot_chain_diagnostics(dipeptide, tmp_path / "a.png", observables={"$x_$": dipeptide.x[:, 0, 0].numpy()})
    assert (tmp_path / "a.png").exists()


def test_code_that_loads_results_is_right_for_every_path(tmp_path):
    folder = tmp_path / "a \"b\" 'c' é"
    wt = WeightedTrajectory(torch.zeros(9, 2), torch.zeros(9), kind="importance")
    written = write_results(wt, folder, name="x")
    from openmm_diffsampler.analysis.results import how_to_load

    scope: dict[str, object] = {}
    exec("\n".join(how_to_load(written["frames and weights"]).splitlines()[:3]), scope)
    assert len(scope["wt"]) == 9
