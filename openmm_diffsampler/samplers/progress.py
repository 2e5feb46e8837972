"""Progress bars of training and of sampling."""

import time
from contextlib import contextmanager

__all__ = ["sampling_progress", "training_progress"]


def _bar(unit):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + "  {task.fields[numbers]}"),
        TimeRemainingColumn(),
    )


@contextmanager
def training_progress(name, total, done, count_evaluations, enabled):
    """Yield a function to call with the step and its metrics after every step.

    Arguments:
        name: of the target.
        total, done: steps in all, and those of an earlier run.
        count_evaluations: a function that gives the evaluations so far.
        enabled: False for a silent run.
    """
    if not enabled:
        yield lambda step, metrics: None
        return
    start, before, shown = time.perf_counter(), count_evaluations(), {}
    with _bar("steps") as bar:
        task = bar.add_task(name, total=total, completed=done, numbers="")

        def advance(step, metrics):
            weight = 0.02 if shown else 1.0
            for key, value in metrics.items():
                shown[key] = (1 - weight) * shown.get(key, value) + weight * value if value == value else value
            rate = (count_evaluations() - before) / (time.perf_counter() - start)
            ess = next((f"  ESS {shown[key]:.3f}" for key in ("ESS", "path ESS") if key in shown), "")
            numbers = f"loss {shown['loss']:.4f}{ess}  {rate / 1000:.1f}k evaluations/s"
            bar.update(task, completed=step, numbers=numbers)

        yield advance


@contextmanager
def sampling_progress(name, total, enabled, unit="samples"):
    """Yield a function to call with the number of new samples, or of another unit."""
    if not enabled:
        yield lambda n: None
        return
    with _bar(unit) as bar:
        task = bar.add_task(name, total=total, numbers="")
        yield lambda n: bar.advance(task, n)
