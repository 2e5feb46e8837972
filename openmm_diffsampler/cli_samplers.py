"""The commands of samplers that learn: train one, and sample with it."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._common.quoting import shown
from .cli_ending import ends_in_one_line, fail, reading
from .cli_output import announce_compilation, console, describe_target, print_results, say

if TYPE_CHECKING:
    from .analysis import ComparisonRun
    from .samplers import Sampler
    from .targets import Target

__all__ = ["LARGEST_SEED", "TRUST", "sample", "train"]

#: Seeds are added to, and have to fit into 64 bits.
LARGEST_SEED = 2**62
TRUST = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run Python code that the system's file holds (PythonForce); only for files whose author you trust.",
    ),
]


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
    steps: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Training steps; by default those of the preset.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="One setting in place of the preset's, as name=value; repeat for more.")
    ] = None,
    seed: Annotated[int, typer.Option(min=-LARGEST_SEED, max=LARGEST_SEED, help="Of all random numbers.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
    checkpoint_every: Annotated[
        int, typer.Option(min=1, max=10**9, help="Steps from one checkpoint to the next.")
    ] = 1000,
    trust: TRUST = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a sampler that is there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Train a sampler from energies and scores alone.

    Interrupted or killed, the same command goes on where the last checkpoint was. Started by torchrun, all its
    processes train together.
    """
    with ends_in_one_line() as ending:
        from openmm_diffsampler import load_system
        from openmm_diffsampler.output_folder import OutputFolder, default_folder
        from openmm_diffsampler.samplers import METHODS, recommended_method

        if method not in ("auto", *METHODS):
            fail(f"method is {method!r}; supported are auto, {', '.join(METHODS)}")
        settings = _settings(setting or [])
        announce_compilation()
        with reading(system):
            target = load_system(system, trust=trust).target()
        if method == "auto":  # published settings are those of iDEM
            method = "idem" if preset == "paper" else recommended_method(target)
        folder = output or default_folder(target.name, method)
        words = _command(system, method, preset, steps, setting or [], seed, precision)
        out = OutputFolder(folder, "train", f"{words} --output {shlex.quote(str(folder))}")
        # Of the processes of torchrun, the first has the folder; the others wait for it in fit().
        is_first = _is_first_process()
        with out.checked(overwrite) if is_first else contextlib.nullcontext():
            sampler = METHODS[method](target, preset, seed=seed, **settings)
            if is_first:
                out.begin()
            say(f"{target.name}: {describe_target(target)}")
            if out.has_checkpoint():
                say(f"going on from the checkpoint in {out.checkpoint}")
            ending.keeps_checkpoint(out.checkpoint, out.has_checkpoint)
            options = {"checkpoint_every": checkpoint_every, "metrics": folder, "progress": progress}
            sampler.fit(steps, checkpoint=out.checkpoint, precision=precision, **options)
            if not (is_first and sampler.is_first_process):
                return
            sampler.record["command"] = words
            out.claim()
            sampler.save(folder, overwrite=True)  # the folder was checked
            ending.keeps(f"the sampler is in {folder}")
            left = out.finish()
        record = sampler.record
        minutes = record["seconds"] / 60
        say(f"\n{record['n_steps']:,} steps, {record['n_evaluations']:,} evaluations, {minutes:.1f} minutes")
        if left:
            say(f"left in {out.checkpoint}, not being of a training: {', '.join(path.name for path in left)}")
        say(f"\nSample with it:\n\n    openmm-diffsampler sample {shlex.quote(str(folder))}")


def _is_first_process() -> bool:
    """By what torchrun sets; RANK alone, as some queues set it, means nothing."""
    try:
        return int(os.environ.get("WORLD_SIZE", "1")) < 2 or int(os.environ.get("RANK", "0")) == 0
    except ValueError:
        found = ", ".join(f"{name}={os.environ.get(name)}" for name in ("WORLD_SIZE", "RANK"))
        raise ValueError(f"{found} in the environment: torchrun sets whole numbers; unset them") from None


def _command(
    system: str, method: str, preset: str, steps: int | None, settings: list[str], seed: int, precision: str
) -> str:
    """What to type for the same training."""
    words = [f"openmm-diffsampler train {shlex.quote(system)} --method {method} --preset {preset} --seed {seed}"]
    words += [f"--precision {precision}"] if precision != "auto" else []
    words += [f"--steps {steps}"] if steps is not None else []
    return " ".join(words + [f"--setting {shlex.quote(setting)}" for setting in settings])


def _settings(pairs: list[str]) -> dict[str, Any]:
    import yaml

    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--setting is {shown(pair)}; write name=value, such as batch_size=128")
        try:
            value = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise ValueError(f"--setting is {shown(pair)}; its value is no number, word or list") from None
        if isinstance(value, str):  # YAML takes 1e-3 for a word
            with contextlib.suppress(ValueError):
                value = float(value)
        settings[name.strip().replace("-", "_")] = value
    return settings


def sample(
    sampler: Annotated[str, typer.Argument(help="Folder of a trained sampler, or a system that one comes with.")],
    n: Annotated[int, typer.Option("--samples", "-n", min=1, max=10**9, help="Independent samples.")] = 10_000,
    method: Annotated[
        str, typer.Option(help="Of the sampler that comes with a system, where there are several; or auto.")
    ] = "auto",
    weights: Annotated[
        str, typer.Option(help="auto, density, annealed, encoder, path, ode, or none for samples alone.")
    ] = "auto",
    levels: Annotated[
        int | None, typer.Option(min=2, max=10**6, help="Steps of path or annealed weights; more make them more even.")
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10**6,
            help="Trajectories after DiKL samples without weights; by default n_refine of its settings.",
        ),
    ] = None,
    compare: Annotated[
        int, typer.Option(min=0, max=10**12, help="Steps of molecular dynamics to compare a molecule with; 0 for none.")
    ] = 50_000,
    output: Annotated[Path | None, typer.Option(help="Folder of the results; by default <system>-samples.")] = None,
    seed: Annotated[int, typer.Option(min=-LARGEST_SEED, max=LARGEST_SEED, help="Of all random numbers.")] = 0,
    trust: TRUST = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    progress: Annotated[bool, typer.Option(help="Show a progress bar.")] = True,
) -> None:
    """Draw independent samples with importance weights; write trajectory, weights, figures and a report."""
    with ends_in_one_line() as ending:
        from openmm_diffsampler.output_folder import OutputFolder, default_folder
        from openmm_diffsampler.samplers import MissedModeWarning

        announce_compilation()
        loaded = _loaded(sampler, method, trust)
        name = loaded.target.name
        options = {} if levels is None else {"n_levels": levels}
        options |= {} if refine is None else {"n_refine": refine}
        kind = {"none": None, "auto": loaded.weight_kinds[0]}.get(weights, weights)
        out = OutputFolder(output or default_folder(name, "samples"), "sample")
        with out.checked(overwrite):
            start, evaluations = time.perf_counter(), loaded.target.n_evaluations
            ending.keeps("nothing was kept", "the same command draws the same samples")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MissedModeWarning)  # shown below, and in the report
                wt = loaded.sample(n, kind, seed=seed, progress=progress, **options)
            seconds, evaluations = time.perf_counter() - start, loaded.target.n_evaluations - evaluations
            record, found = loaded.record, loaded.diagnostics
            settings = {
                "sampler": f"{type(loaded).__name__}, preset {loaded.preset}",
                "weights": "none" if kind is None else kind,
                "seed": seed,
            }
            if loaded.method == "dikl" and kind is None:
                n_refine = loaded.settings.n_refine if refine is None else refine
                settings["trajectories after the pass"] = f"{n_refine} of {loaded.settings.n_refine_leapfrog} steps"
            say(f"{n:,} samples in {seconds:,.1f} s")
            if kind is not None:
                say(f"log Z {wt.log_Z:.4f} ± {wt.log_Z_standard_error:.4f}")
            if found is not None and found.warning:
                say(f"warning: {found.warning}", style="bold red")
            with console.status("molecular dynamics to compare with") if progress else contextlib.nullcontext():
                dynamics = _dynamics(loaded.target, compare, seed)
            out.begin()
            out.claim()
            written = out.write(
                wt,
                name=name,
                settings=settings,
                cost={"training": (record["n_evaluations"], record["seconds"]), "sampling": (evaluations, seconds)},
                forward=None if found is None else found.as_dict(),
                comparison=dynamics,
            )
            ending.keeps(f"the results are in {out.folder}")
            out.finish()
        print_results(wt, [], written)


def _loaded(sampler: str, method: str, trust: bool) -> Sampler:
    """The trained sampler in a folder, or the one that comes with a system."""
    from openmm_diffsampler import list_systems
    from openmm_diffsampler.output_folder import unfinished_training
    from openmm_diffsampler.samplers import load_pretrained, load_sampler

    source = Path(sampler)
    if (source / "sampler.json").exists():
        with reading(source):
            loaded = load_sampler(source, trust=trust)
        if method not in ("auto", loaded.method):
            raise ValueError(f"method is {method!r}, and {source} holds a sampler of method {loaded.method!r}")
        return loaded
    how = unfinished_training(source)
    if how is not None:
        raise FileNotFoundError(f"the training in {source} is unfinished; go on with it first: {how}")
    if sampler in list_systems():
        return load_pretrained(sampler, method)
    if source.is_dir():
        raise FileNotFoundError(f"{source} holds no trained sampler (no sampler.json); train writes one")
    if source.exists():
        raise NotADirectoryError(f"{source} is a file; give the folder that holds sampler.json")
    if any(separator in sampler for separator in (os.sep, "/")):
        raise FileNotFoundError(f"there is no folder {source}; give that of a trained sampler, or the name of a system")
    return load_pretrained(sampler, method)  # which says what there is


def _dynamics(target: Target, n_steps: int, seed: int) -> ComparisonRun | None:
    """Langevin dynamics of a molecule from its start, as a chemist would run without this package."""
    target = target.frames_of
    if not n_steps or target.positions is None or not target.topology.n_bonds:
        return None
    from openmm import OpenMMException

    from openmm_diffsampler.analysis import short_md

    start, seed = target.positions.numpy(), seed % 2**31
    try:
        return short_md(target.system, target.topology, start, target.temperature, n_evaluations=n_steps, seed=seed)
    except (ValueError, OpenMMException) as error:  # the samples are worth more than the comparison
        say(f"no comparison with molecular dynamics: {error}")
        return None
