"""A training as a script, to be killed or run by several processes: folder and number of steps are its arguments."""

import sys

import torch

from openmm_diffsampler import IDEM, GaussianMixture

__all__ = ["mixture", "train"]


def mixture():
    return GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])


def train(folder, n_steps):
    settings = dict(buffer_size=512, batch_size=64, n_draws=8, n_refresh=64, n_refresh_levels=20, refresh_every=40)
    sampler = IDEM(mixture(), width=16, s_min=0.05, s_max=8.0, **settings)
    sampler.fit(n_steps, checkpoint=f"{folder}/checkpoint", checkpoint_every=20, metrics=folder, metrics_every=7)
    if sampler.is_first_process:
        sampler.save(f"{folder}/sampler")


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
    if torch.distributed.is_initialized():  # or its threads may outlive the process
        torch.distributed.destroy_process_group()
