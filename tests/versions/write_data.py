"""Write what tests of other versions read: ``python -m tests.versions.write_data FOLDER``.

``data/first`` was written by version 0.1.0 before files had checksums, with OpenMM 8.6.1.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from openmm_diffsampler import HMC, WeightedTrajectory, load_system
from openmm_diffsampler.samplers import load_sampler
from tests.fuzz.inputs import (
    fit_six_steps,
    fitted,
    interrupted_fit,
    mixture,
    peroxide,
    run_of_chains,
    sampler,
    trajectory,
    write_peroxide,
)

__all__ = ["chains_of_peroxide", "numbers", "write"]

METHODS = ("boltzmann", "idem")


def chains_of_peroxide(system: Path, checkpoint: Path, n_draws: int) -> WeightedTrajectory:
    """Four chains of the molecule, which go on where the checkpoint ends."""
    target = load_system(system).target(backend="torch")
    chains = HMC(target, step_size=0.002, n_leapfrog=3)
    start = target.positions
    return chains.sample(start, n_draws, n_chains=4, n_warmup=4, seed=0, checkpoint=checkpoint, checkpoint_every=4)


def write(folder: Path) -> None:
    """A system, trained samplers, checkpoints of runs and of a training, a trajectory, and what is in them."""
    folder.mkdir(parents=True)
    write_peroxide(folder / "peroxide")
    for method in METHODS:
        fitted(method, folder / "peroxide").save(folder / f"sampler-{method}")
    chains_of_peroxide(folder / "peroxide", folder / "run-of-peroxide", 8)
    run_of_chains(folder / "run", 8)
    interrupted_fit("idem", folder / "training")
    shutil.rmtree(folder / "training" / "tensorboard")
    trajectory().save(folder / "frames.dcd")
    copy = folder.with_name(f"{folder.name}-read")
    shutil.copytree(folder, copy)
    (folder / "numbers.json").write_text(json.dumps(numbers(copy), indent=1) + "\n")
    shutil.rmtree(copy)


def numbers(folder: Path) -> dict[str, Any]:
    """What is read from a folder that :func:`write` wrote; checkpoints in it go on."""
    positions = torch.as_tensor(peroxide()[2])[None]
    found = {"energy": load_system(folder / "peroxide").target(backend="torch").reduced_potential(positions)}
    for method in METHODS:
        loaded = load_sampler(folder / f"sampler-{method}", None if method == "boltzmann" else mixture())
        found[f"weights of {method}"] = loaded.sample(4, seed=1).log_weights
    for name, wt in (
        ("run of peroxide", chains_of_peroxide(folder / "peroxide", folder / "run-of-peroxide", 12)),
        ("run", run_of_chains(folder / "run", 12)),
    ):
        # The first draws are those of the checkpoint; later ones depend on the last digits, which processors differ in.
        found[name] = wt.reduced_potential[wt.draw < 8]
    trained = fit_six_steps(sampler("idem"), folder / "training")
    found["weights of the training"] = trained.sample(4, seed=1).log_weights
    frames = WeightedTrajectory.load(folder / "frames.dcd")
    found |= {"frames": frames.x.flatten(), "weights of frames": frames.log_weights}
    return {name: values.tolist() for name, values in found.items()}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
