"""The progress bar of a run: sweeps, evaluations a second, acceptance, time left."""

import time
from contextlib import contextmanager

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(sampler, total, done, watched, enabled):
    """Yield a function to call with the state after every sweep.

    Arguments:
        sampler: a BatchedSampler, whose kernels tell acceptance.
        total, done: sweeps in all, and those of an earlier run; total None for a run with a goal.
        watched: :class:`~openmm_diffsampler.mcmc.goal.Watch` of such a run, whose budget of evaluations the bar shows.
        enabled: False for a silent run.
    """
    if not enabled:
        yield lambda state: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
        TimeRemainingColumn(),
    )
    start, before = time.perf_counter(), sampler.target.n_evaluations
    with Progress(*columns) as bar:
        if total is None:
            task = bar.add_task(f"{sampler.target.name}, of its budget", total=watched.goal.evaluations, numbers="")
        else:
            task = bar.add_task(sampler.target.name, total=total, completed=done, numbers="")

        def advance(state):
            rate = (sampler.target.n_evaluations - before) / (time.perf_counter() - start)
            proposals = [count for kernel in sampler.kernels for count in kernel.counts.values()]
            accepted = " ".join(f"{total / n:.2f}" for total, n in proposals)
            numbers = f"{rate / 1000:.1f}k evaluations/s  accepted {accepted}  mean energy {state.u.mean():.1f} kT"
            if total is None:
                bar.update(task, completed=sampler.n_spent, numbers=watched.note or numbers)
            else:
                bar.update(task, advance=1, numbers=numbers)

        yield advance
