"""Two processes that train together stop together and end with the same sampler, by every method with a last fit."""

import os
import subprocess
import sys

SCRIPT = """
import os
import time
from pathlib import Path

import torch
from openmm_diffsampler import EDG, DiKL, GaussianMixture

target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
small = dict(batch_size=16, width=8, score_width=8, n_final_steps=4)
cooled = dict(beta_start=0.1, beta_end=0.5, n_cooling=3, curved_noise=True)
sampler = EDG(target, **small, **cooled, n_leapfrog=1, n_pool=64).fit(5)
wt = sampler.sample(50, seed=1)
edg = float(sampler.tables.size.sum()), float(wt.x.sum()), wt.log_Z
sampler = DiKL(target, **small, path_width=8, encoder_width=8, n_pool=32, patience=5, learning_rate=1e-9).fit(200)
assert sampler.record["n_steps"] < 200
diffusion = sampler.sampling.diffusion
fitted = float(diffusion.tables.size.sum()), [float(p.double().sum()) for p in diffusion.parameters()]
dikl = sampler.record["n_steps"], fitted, sampler.sampling.step_size
Path(f"{torch.distributed.get_rank()}.txt").write_text(repr((edg, dikl)))
torch.distributed.barrier()
time.sleep(1)  # while the other one, too, gets to know
os._exit(0)  # what is tested is over; taking the group down may abort
"""


def test_they_stop_together_and_sample_alike(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "train.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert found.returncode == 0, found.stderr
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))
    assert first == second
