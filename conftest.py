"""Tests that run beside each other share the cores: one thread each."""

import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
