"""Threads, forked and spawned processes get their own energies from every backend."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from openmm_diffsampler.targets import load_system
from openmm_diffsampler.targets.backends import threads
from openmm_diffsampler.targets.backends.kernel import KernelBackend
from openmm_diffsampler.targets.backends.threads import RenewedLock
from openmm_diffsampler.targets.terms.translate import translate_system

_ROOT = Path(__file__).parents[3]


def printed(repeats, timeout):
    command = [sys.executable, "-m", "tests.targets.backends.processes", str(repeats)]
    paths = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=environment, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("repeats", [4, pytest.param(500, marks=pytest.mark.slow)])
def test_no_number_is_another_threads_or_processs(repeats):
    lines = printed(repeats, timeout=600)
    assert len(lines) == 16
    for line in lines:
        assert line.split(": ")[1] in ("0 wrong", "0 wrong, 0 uncounted"), line


def test_a_lock_keeps_others_out_until_it_is_renewed():
    place, inside = RenewedLock(), threading.Event()

    def enter():
        with place.lock:
            inside.set()

    with place.lock:
        other = threading.Thread(target=enter)
        other.start()
        assert not inside.wait(0.05) and place.lock.locked()
    other.join(10)
    assert inside.is_set() and not place.lock.locked()
    with place.lock:
        place.renew()  # as in a child that was forked meanwhile
        assert not place.lock.locked()
    assert not place.lock.locked()


def test_threads_that_cannot_be_started_change_no_energy(monkeypatch):
    """As under a limit of processes; what was handed out before is waited for, and the rest done here."""
    molecule = load_system("alanine-dipeptide")
    backend = KernelBackend(translate_system(molecule.system), threads=4)
    x = torch.as_tensor(molecule.positions._value).repeat(2000, 1, 1)
    right, start, begun = backend.energy_and_forces(x)[0].clone(), threading.Thread.start, []

    def few(self):
        begun.append(self)
        if len(begun) > 1:
            raise RuntimeError("can't start new thread")
        return start(self)

    monkeypatch.setattr(threading.Thread, "start", few)
    for _ in range(10):
        threads._pool.cache_clear()
        begun.clear()
        assert torch.equal(backend.energy_and_forces(x)[0], right)
    threads._pool.cache_clear()
