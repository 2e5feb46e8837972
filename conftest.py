"""Tests that run beside each other share the cores: one thread each, and each of the commands that they start."""

import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Workers share out the tests in their order, so that a module trains what it needs once, and steal at the end."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
