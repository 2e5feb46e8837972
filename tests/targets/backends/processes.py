"""Four threads, forked and spawned processes on every backend, as a program: prints how many energies were wrong.

``python -m tests.targets.backends.processes REPEATS``. A process of its own: forks and torch's threads do not mix.
"""

import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

from openmm_diffsampler import load_system

_WORKERS = 4
_BACKENDS = {
    "kernel": {"backend": "kernel"},
    "torch": {"backend": "torch"},
    "openmm Reference": {"backend": "openmm", "platform": "Reference", "n_contexts": 2},
    "openmm CPU": {"backend": "openmm", "platform": "CPU", "n_contexts": 2},
}


def targets():
    molecule = load_system("alanine-dipeptide-vacuum")
    return {name: molecule.target(**options) for name, options in _BACKENDS.items()}


def batches(target):
    generator = torch.Generator().manual_seed(0)
    return [
        target.positions + 0.003 * torch.randn(16, *target.event_shape, generator=generator, dtype=torch.float64)
        for _ in range(_WORKERS)
    ]


def wrong(target, x, expected, repeats):
    """How many of the repeats differ from the energies and forces expected."""
    return sum(not all(map(torch.equal, target.reduced_potential_and_score(x), expected)) for _ in range(repeats))


def in_process(job):
    target, x, expected, repeats = job
    before = target.n_evaluations
    return wrong(target, x, expected, repeats) + (target.n_evaluations != before + repeats * len(x))


def in_inherited_target(job):
    name, k, repeats = job
    target, jobs = _inherited[name]
    return wrong(target, *jobs[k], repeats)


def keep_busy(target, x, done):
    while not done.is_set():
        target.reduced_potential(x)


_inherited = {}


def main(repeats):
    for name, target in targets().items():
        jobs = [(x, target.reduced_potential_and_score(x)) for x in batches(target)]
        before = target.n_evaluations
        with ThreadPoolExecutor(_WORKERS) as threads:
            found = list(threads.map(lambda job, target=target: wrong(target, *job, repeats), jobs))
        uncounted = target.n_evaluations - before != _WORKERS * repeats * len(jobs[0][0])
        print(f"{name}, threads: {sum(found)} wrong, {int(uncounted)} uncounted")
        _inherited[name] = target, jobs
    for name, (target, jobs) in _inherited.items():
        done = threading.Event()
        busy = threading.Thread(target=keep_busy, args=(target, jobs[0][0], done))
        busy.start()  # which holds the target's locks at most times
        with multiprocessing.get_context("fork").Pool(2) as pool:
            asked = pool.map_async(in_inherited_target, [(name, k, repeats) for k in range(_WORKERS)])
            print(f"{name}, forked: {sum(asked.get(timeout=120))} wrong")
        done.set()
        busy.join()
    for name, (target, jobs) in _inherited.items():  # and the parent goes on
        print(f"{name}, after forks: {wrong(target, *jobs[0], 1)} wrong")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for name, (target, jobs) in _inherited.items():
            asked = pool.map_async(in_process, [(target, *job, repeats) for job in jobs])
            print(f"{name}, spawned: {sum(asked.get(timeout=120))} wrong")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]))
