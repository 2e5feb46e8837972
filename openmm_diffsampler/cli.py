"""openmm-diffsampler: list systems, sample one, train a sampler and use it, analyse a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .cli_ending import ends_in_one_line, fail, reading
from .cli_output import announce_compilation, console, describe_target, print_results, say
from .cli_samplers import LARGEST_SEED, TRUST, sample, train

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, rich_markup_mode=None)
app.command()(train)
app.command()(sample)


@app.command()
def systems() -> None:
    """List the built-in systems."""
    with ends_in_one_line():
        from openmm_diffsampler import list_systems

        table = Table(box=None)
        table.add_column("name", style="bold")
        table.add_column("what it is")
        for name, description in list_systems().items():
            table.add_row(name, description)
        console.print(table)
        say("\nA folder with topology.pdb, system.xml and system.yaml works too; save_system() writes one.")


@app.command()
def run(
    system: Annotated[str, typer.Argument(help="Name of a built-in system, or the folder of your own.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default <system>-run.")] = None,
    method: Annotated[str, typer.Option(help="digs (diffusive Gibbs sampling), tempering, hmc or mala.")] = "digs",
    coordinates: Annotated[str, typer.Option(help="Of digs: internal, cartesian, or auto.")] = "auto",
    start: Annotated[
        str | None,
        typer.Option(help="conformers (chains start spread over those found, the default) or positions; internal."),
    ] = None,
    chains: Annotated[int, typer.Option(min=1, max=1_000_000, help="Chains, side by side.")] = 128,
    effective: Annotated[
        float | None,
        typer.Option(help="Effective samples of every torsion and ring that end the run, with R-hat; by default 1000."),
    ] = None,
    evaluations: Annotated[
        float | None, typer.Option(help="Energy evaluations that end the run otherwise; by default 2e7.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes that end the run otherwise; by default none.")] = None,
    draws: Annotated[
        int | None,
        typer.Option(min=1, max=10**9, help="Frames kept of every chain: a run of this length, whatever it reaches."),
    ] = None,
    warmup: Annotated[
        int, typer.Option(min=0, max=10**9, help="Sweeps before the first frame; step sizes adapt here.")
    ] = 100,
    thinning: Annotated[int, typer.Option(min=1, max=10**9, help="Sweeps from frame to frame.")] = 2,
    seed: Annotated[int, typer.Option(min=-LARGEST_SEED, max=LARGEST_SEED, help="Of all random numbers.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="In kelvin; by default that of the system.")] = None,
    noise_scale: Annotated[
        list[float] | None,
        typer.Option(help="Noise level in nm (thermal widths with --coordinates internal); repeat for a ladder."),
    ] = None,
    torsion_scale: Annotated[
        float | None, typer.Option(help="Noise on torsions in rad, in Cartesian coordinates; 0 for none.")
    ] = None,
    step_size: Annotated[float | None, typer.Option(help="Where adaptation starts, in nm; Cartesian.")] = None,
    leapfrog: Annotated[
        int | None, typer.Option(min=1, max=10**6, help="Leapfrog steps of a Hamiltonian step.")
    ] = None,
    hottest: Annotated[
        float | None,
        typer.Option(help="Hottest temperature of replica exchange, in kelvin (densities: times their own)."),
    ] = None,
    rungs: Annotated[
        int | None, typer.Option(min=2, max=1000, help="Temperatures of replica exchange; by default 8.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, kernel, torch or openmm.")] = "auto",
    trust: TRUST = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Sample a system and write trajectory, weights, figures and a report.

    Killed in the middle, the same command goes on where the last checkpoint was, with the same result.
    """
    with ends_in_one_line() as ending:
        from openmm_diffsampler import load_system
        from openmm_diffsampler.output_folder import OutputFolder, default_folder
        from openmm_diffsampler.running import METHODS, build_run, goal_of, require_options

        if method not in METHODS:
            fail(f"method is {method!r}; supported are {', '.join(METHODS)}")
        given = {
            "noise_scales": noise_scale,
            "torsion_scale": torsion_scale,
            "step_size": step_size,
            "n_leapfrog": leapfrog,
            "starts": start,
        }
        require_options(temperature, given, hottest)
        goal = goal_of(draws, effective_samples=effective, evaluations=evaluations, minutes=minutes)
        announce_compilation()
        with reading(system):
            loaded = load_system(system, trust=trust)
        out = OutputFolder(output or default_folder(loaded.name, "run"), "run")
        with out.checked(overwrite):
            target, sampler, why, initial = build_run(
                loaded, method, chains, seed, temperature, backend, given, coordinates, (hottest, rungs)
            )
            out.begin()
            say(f"{target.name}: {describe_target(target)}")
            say(f"sampler: {type(sampler).__name__} ({why})")
            if hasattr(sampler, "held"):
                say(f"held: {', '.join(map(str, sampler.held)) or 'no bond'}; all other rotatable bonds turn")
            if out.has_checkpoint():
                say(f"going on from the checkpoint in {out.checkpoint}")
            ending.keeps_checkpoint(out.checkpoint, out.has_checkpoint)
            wt = sampler.sample(
                initial,
                draws,
                goal=goal,
                n_chains=chains,
                n_warmup=warmup,
                thinning=thinning,
                seed=seed,
                checkpoint=out.checkpoint,
                progress=progress,
            )
            after_warmup = sum(row["evaluations"] for row in sampler.statistics)
            n_draws = len(wt) // chains
            settings = {"chains": chains, "draws of each": n_draws, "warm-up sweeps": warmup}
            settings |= {"sweeps per draw": thinning * sampler.stride, "seed": seed, "sampler": type(sampler).__name__}
            settings |= {"energy evaluations": f"{sampler.n_spent:,}, of which {after_warmup:,} after warm-up"}
            out.claim()
            told = {"statistics": sampler.statistics, "settings": settings}
            told |= {"landscape": sampler.landscape, "ending": sampler.ended}
            written = out.write(wt, name=target.name, **told)
            ending.keeps(f"the results are in {out.folder}")
            left = out.finish()
        print_results(wt, sampler.statistics, written)
        if left:
            say(f"\nleft in {out.checkpoint}, not being of a run: {', '.join(path.name for path in left)}")
        if getattr(sampler, "n_inverted", 0):
            say(f"\n{sampler.n_inverted:,} evaluations were rejected since a stereocentre had turned over")


@app.command()
def analyse(
    trajectory: Annotated[Path, typer.Argument(help="Frames saved with their weights, such as trajectory.dcd.")],
    output: Annotated[Path | None, typer.Option(help="Folder of the figures; by default beside the frames.")] = None,
    torsions: Annotated[
        str | None, typer.Option(help='Two torsions of the surface: "phi psi", "phi:2 psi:2", "0,1,2,3 1,2,3,4".')
    ] = None,
    name: Annotated[str | None, typer.Option(help="Title of the figures; by default the file name.")] = None,
) -> None:
    """Make figures, numbers and a report of a weighted trajectory."""
    with ends_in_one_line() as ending:
        from openmm_diffsampler import WeightedTrajectory
        from openmm_diffsampler.output_folder import OutputFolder

        chosen = _parse_torsions(torsions)
        if not trajectory.is_file():
            raise FileNotFoundError(f"there is no file {str(trajectory)!r}; give one that frames were saved in")
        out = OutputFolder(output or trajectory.parent / f"{trajectory.stem}-analysis", "analyse")
        with reading(trajectory):
            wt = WeightedTrajectory.load(trajectory)
        with out.checked():
            out.begin()
            ending.keeps("the frames are as they were", "the same command analyses them again")
            out.claim()
            written = out.write(wt, name=name or trajectory.stem, saved=trajectory, torsions=chosen)
            out.finish()
        print_results(wt, [], written, frames=trajectory)


def _parse_torsions(text: str | None) -> tuple | None:
    if text is None:
        return None
    parts = text.split()
    if len(parts) != 2:
        raise ValueError(f"--torsions is {text!r}; give two, separated by a space, such as 'phi psi'")
    return tuple(_parse_torsion(part, text) for part in parts)


def _parse_torsion(part: str, text: str) -> str | tuple[int, ...]:
    if "," not in part:
        return part
    try:
        return tuple(int(i) for i in part.split(","))
    except ValueError:
        raise ValueError(f"--torsions is {text!r}; atoms are four whole numbers, such as 0,1,2,3") from None
