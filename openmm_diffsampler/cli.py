"""openmm-diffsampler: list systems, sample one, train a sampler and use it, analyse a trajectory."""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .cli_output import announce_compilation, console, describe_target, fail, print_results
from .cli_samplers import sample, train

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
app.command()(train)
app.command()(sample)


@app.command()
def systems():
    """List the built-in systems."""
    from openmm_diffsampler import list_systems

    table = Table(box=None)
    table.add_column("name", style="bold")
    table.add_column("what it is")
    for name, description in list_systems().items():
        table.add_row(name, description)
    console.print(table)
    console.print("\nA folder with topology.pdb, system.xml and system.yaml works too; save_system() writes one.")


@app.command()
def run(
    system: Annotated[str, typer.Argument(help="Name of a built-in system, or the folder of your own.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default <system>-run.")] = None,
    method: Annotated[str, typer.Option(help="digs (diffusive Gibbs sampling), tempering, hmc or mala.")] = "digs",
    coordinates: Annotated[str, typer.Option(help="Of digs: internal, cartesian, or auto.")] = "auto",
    chains: Annotated[int, typer.Option(min=1, help="Chains, side by side.")] = 128,
    draws: Annotated[int, typer.Option(min=1, help="Frames kept of every chain.")] = 1000,
    warmup: Annotated[int, typer.Option(min=0, help="Sweeps before the first frame; step sizes adapt here.")] = 100,
    thinning: Annotated[int, typer.Option(min=1, help="Sweeps from frame to frame.")] = 2,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="In kelvin; by default that of the system.")] = None,
    noise_scale: Annotated[
        list[float] | None,
        typer.Option(help="Noise level in nm (thermal widths with --coordinates internal); repeat for a ladder."),
    ] = None,
    torsion_scale: Annotated[
        float | None, typer.Option(help="Noise on torsions in rad, in Cartesian coordinates; 0 for none.")
    ] = None,
    step_size: Annotated[float | None, typer.Option(help="Where adaptation starts, in nm; Cartesian.")] = None,
    leapfrog: Annotated[int | None, typer.Option(min=1, help="Leapfrog steps of a Hamiltonian step.")] = None,
    hottest: Annotated[
        float | None,
        typer.Option(help="Hottest temperature of replica exchange, in kelvin (densities: times their own)."),
    ] = None,
    rungs: Annotated[int | None, typer.Option(min=2, help="Temperatures of replica exchange; by default 8.")] = None,
    backend: Annotated[str, typer.Option(help="auto, kernel, torch or openmm.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
):
    """Sample a system and write trajectory, weights, figures and a report.

    Killed in the middle, the same command goes on where the last checkpoint was, with the same result.
    """
    from openmm_diffsampler.analysis import write_results
    from openmm_diffsampler.running import METHODS, build_run, prepare_folder

    if method not in METHODS:
        fail(f"method is {method!r}; supported are {', '.join(METHODS)}")

    announce_compilation()
    given = {
        "noise_scales": noise_scale,
        "torsion_scale": torsion_scale,
        "step_size": step_size,
        "n_leapfrog": leapfrog,
    }
    try:
        target, sampler, why, initial = build_run(
            system, method, chains, seed, temperature, backend, given, coordinates, (hottest, rungs)
        )
        folder = output or Path(f"{target.name}-run")
        checkpoint = prepare_folder(folder, overwrite)
        console.print(f"{target.name}: {describe_target(target)}", highlight=False, soft_wrap=True)
        console.print(f"sampler: {type(sampler).__name__} ({why})", highlight=False, soft_wrap=True)
        if checkpoint.exists():
            console.print(f"going on from the checkpoint in {checkpoint}", highlight=False)
        settings = {"chains": chains, "draws of each": draws, "warm-up sweeps": warmup, "sweeps per draw": thinning}
        wt = sampler.sample(
            initial,
            draws,
            n_chains=chains,
            n_warmup=warmup,
            thinning=thinning,
            seed=seed,
            checkpoint=checkpoint,
            progress=progress,
        )
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        fail(error)
    evaluations = sum(row["evaluations"] for row in sampler.statistics)
    settings |= {"seed": seed, "sampler": type(sampler).__name__, "evaluations after warm-up": f"{evaluations:,}"}
    written = write_results(wt, folder, name=target.name, statistics=sampler.statistics, settings=settings)
    shutil.rmtree(checkpoint, ignore_errors=True)
    print_results(wt, sampler.statistics, written)
    if getattr(sampler, "n_inverted", 0):
        console.print(f"\n{sampler.n_inverted:,} evaluations were rejected since a stereocentre had turned over")


@app.command()
def analyse(
    trajectory: Annotated[Path, typer.Argument(help="Frames saved with their weights, such as trajectory.dcd.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the figures; by default beside the frames.")] = None,
    torsions: Annotated[
        str | None, typer.Option(help='Two torsions of the surface: "phi psi", "phi:2 psi:2", "0,1,2,3 1,2,3,4".')
    ] = None,
    name: Annotated[str | None, typer.Option(help="Title of the figures; by default the file name.")] = None,
):
    """Make figures, numbers and a report of a weighted trajectory."""
    from openmm_diffsampler import WeightedTrajectory
    from openmm_diffsampler.analysis import write_results

    try:
        wt = WeightedTrajectory.load(trajectory)
        folder = output or trajectory.parent / f"{trajectory.stem}-analysis"
        title = name or trajectory.stem
        written = write_results(wt, folder, name=title, saved=trajectory, torsions=_parse_torsions(torsions))
    except (ValueError, TypeError, OSError, ImportError) as error:
        fail(error)
    print_results(wt, [], written, frames=trajectory)


def _parse_torsions(text):
    if text is None:
        return None
    parts = text.split()
    if len(parts) != 2:
        raise ValueError(f"--torsions is {text!r}; give two, separated by a space, such as 'phi psi'")
    return tuple(tuple(int(i) for i in p.split(",")) if "," in p else p for p in parts)
