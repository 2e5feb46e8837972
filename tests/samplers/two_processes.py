"""A script run by two processes that train together."""

import os
import subprocess
import sys


def run_in_two_processes(script, folder):
    """Texts of the files 0.txt and 1.txt that a script, the process of each rank, leaves in a folder."""
    (folder / "train.py").write_text(script)
    call = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "train.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    found = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)
    assert found.returncode == 0, found.stderr
    return [(folder / f"{rank}.txt").read_text() for rank in (0, 1)]
