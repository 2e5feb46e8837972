"""The commands of samplers that learn: train one, and sample with it."""

import contextlib
import shutil
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .cli_output import announce_compilation, console, describe_target, fail, print_results

__all__ = ["sample", "train"]


def train(
    system: Annotated[str, typer.Argument(help="Name of a built-in system, or the folder of your own.")],
    method: Annotated[
        str,
        typer.Option(help="boltzmann (exact density), idem (diffusion), dikl (one-step), edg (decoder), or auto."),
    ] = "auto",
    output: Annotated[Path | None, typer.Option(help="Folder of the sampler; by default <system>-<method>.")] = None,
    preset: Annotated[
        str, typer.Option(help="default, or paper for the published settings of idem, dikl and edg.")
    ] = "default",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; by default those of the preset.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="One setting in place of the preset's, as name=value; repeat for more.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps from one checkpoint to the next.")] = 1000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sampler that is there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
):
    """Train a sampler from energies and scores alone.

    Interrupted or killed, the same command goes on where the last checkpoint was. Started by torchrun, all its
    processes train together.
    """
    from openmm_diffsampler import load_system
    from openmm_diffsampler.samplers import METHODS, recommended_method

    announce_compilation()
    if method not in ("auto", *METHODS):
        fail(f"method is {method!r}; supported are auto, {', '.join(METHODS)}")
    try:
        target = load_system(system).target()
        if method == "auto":  # published settings are those of iDEM
            method = "idem" if preset == "paper" else recommended_method(target)
        folder = output or Path(f"{target.name}-{method}")
        checkpoint = folder / "checkpoint"
        finished = (folder / "sampler.json").exists()
        if finished and overwrite:  # forgotten at once, so that this training, interrupted, goes on
            shutil.rmtree(checkpoint, ignore_errors=True)
            (folder / "sampler.json").unlink()
        elif finished:
            raise FileExistsError(f"{folder} holds a finished sampler; choose another --output, or pass --overwrite")
        sampler = METHODS[method](target, preset, seed=seed, **_settings(setting or []))
        console.print(f"{target.name}: {describe_target(target)}", highlight=False, soft_wrap=True)
        if checkpoint.exists():
            console.print(f"going on from the checkpoint in {checkpoint}", highlight=False)
        options = {"checkpoint_every": checkpoint_every, "metrics": folder, "progress": progress}
        sampler.fit(steps, checkpoint=checkpoint, precision=precision, **options)
    except KeyboardInterrupt as interrupt:
        fail(f"{interrupt}; the same command goes on from there" if checkpoint.exists() else "interrupted")
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        fail(error)
    if not sampler.is_first_process:
        return
    sampler.record["command"] = _command(system, method, preset, steps, setting or [], seed, precision)
    sampler.save(folder)
    shutil.rmtree(checkpoint, ignore_errors=True)
    record = sampler.record
    console.print(
        f"\n{record['n_steps']:,} steps, {record['n_evaluations']:,} evaluations, {record['seconds'] / 60:.1f} minutes",
        highlight=False,
    )
    console.print(f"\nSample with it:\n\n    openmm-diffsampler sample {folder}", highlight=False, soft_wrap=True)


def _command(system, method, preset, steps, settings, seed, precision):
    """What to type for the same training."""
    words = [f"openmm-diffsampler train {system} --method {method} --preset {preset} --seed {seed}"]
    words += [f"--precision {precision}"] if precision != "auto" else []
    words += [f"--steps {steps}"] if steps is not None else []
    return " ".join(words + [f"--setting {setting}" for setting in settings])


def _settings(pairs):
    import yaml

    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--setting is {pair!r}; write name=value, such as batch_size=128")
        value = yaml.safe_load(value)
        if isinstance(value, str):  # YAML takes 1e-3 for a word
            with contextlib.suppress(ValueError):
                value = float(value)
        settings[name.strip().replace("-", "_")] = value
    return settings


def sample(
    sampler: Annotated[str, typer.Argument(help="Folder of a trained sampler, or a system that one comes with.")],
    n: Annotated[int, typer.Option("--samples", "-n", min=1, help="Independent samples.")] = 10_000,
    method: Annotated[
        str, typer.Option(help="Of the sampler that comes with a system, where there are several; or auto.")
    ] = "auto",
    weights: Annotated[
        str, typer.Option(help="auto, density, annealed, encoder, path, ode, or none for samples alone.")
    ] = "auto",
    levels: Annotated[
        int | None, typer.Option(min=2, help="Steps of path or annealed weights; more make them more even.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            min=0, help="Trajectories after DiKL samples without weights; by default n_refine of its settings."
        ),
    ] = None,
    compare: Annotated[
        int, typer.Option(min=0, help="Steps of molecular dynamics to compare a molecule with; 0 for none.")
    ] = 50_000,
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default <system>-samples.")] = None,
    seed: Annotated[int, typer.Option(help="Of all random numbers.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
):
    """Draw independent samples with importance weights; write trajectory, weights, figures and a report."""
    from openmm_diffsampler.analysis import write_results
    from openmm_diffsampler.samplers import MissedModeWarning, load_pretrained, load_sampler

    announce_compilation()
    try:
        source = Path(sampler)
        is_folder = (source / "sampler.json").exists()
        loaded = load_sampler(source) if is_folder else load_pretrained(sampler, method)
        if method not in ("auto", loaded.method):
            raise ValueError(f"method is {method!r}, and {source} holds a sampler of method {loaded.method!r}")
        name = loaded.target.name
        folder = output or Path(f"{name}-samples")
        if (folder / "diagnostics.json").exists() and not overwrite:
            raise FileExistsError(f"{folder} holds finished results; choose another --output, or pass --overwrite")
        options = {} if levels is None else {"n_levels": levels}
        options |= {} if refine is None else {"n_refine": refine}
        kind = {"none": None, "auto": loaded.weight_kinds[0]}.get(weights, weights)
        start, evaluations = time.perf_counter(), loaded.target.n_evaluations
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MissedModeWarning)  # shown below, and in the report
            wt = loaded.sample(n, kind, seed=seed, progress=progress, **options)
        seconds, evaluations = time.perf_counter() - start, loaded.target.n_evaluations - evaluations
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        fail(error)
    record, found = loaded.record, loaded.diagnostics
    settings = {
        "sampler": f"{type(loaded).__name__}, preset {loaded.preset}",
        "weights": "none" if kind is None else kind,
        "seed": seed,
    }
    if loaded.method == "dikl" and kind is None:
        n_refine = loaded.settings.n_refine if refine is None else refine
        settings["trajectories after the pass"] = f"{n_refine} of {loaded.settings.n_refine_leapfrog} steps"
    console.print(f"{n:,} samples in {seconds:,.1f} s", highlight=False)
    if kind is not None:
        console.print(f"log Z {wt.log_Z:.4f} ± {wt.log_Z_standard_error:.4f}", highlight=False)
    if found is not None and found.warning:
        console.print(f"[bold red]warning:[/] {escape(found.warning)}", highlight=False, soft_wrap=True)
    try:
        with console.status("molecular dynamics to compare with") if progress else contextlib.nullcontext():
            dynamics = _dynamics(loaded.target, compare, seed)
        written = write_results(
            wt,
            folder,
            name=name,
            settings=settings,
            cost={"training": (record["n_evaluations"], record["seconds"]), "sampling": (evaluations, seconds)},
            forward=None if found is None else found.as_dict(),
            comparison=dynamics,
        )
    except (ValueError, TypeError, OSError) as error:
        fail(error)
    print_results(wt, [], written)


def _dynamics(target, n_steps, seed):
    """Langevin dynamics of a molecule from its start, as a chemist would run without this package."""
    target = target.frames_of
    if not n_steps or target.positions is None or not target.topology.n_bonds:
        return None
    from openmm import OpenMMException

    from openmm_diffsampler.analysis import short_md

    start = target.positions.numpy()
    try:
        return short_md(target.system, target.topology, start, target.temperature, n_evaluations=n_steps, seed=seed)
    except (ValueError, OpenMMException) as error:  # the samples are worth more than the comparison
        console.print(f"no comparison with molecular dynamics: {error}", highlight=False, soft_wrap=True)
        return None
