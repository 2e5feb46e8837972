"""Tests that run beside each other share the cores: one thread each, and each of the commands that they start."""

import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1"}
