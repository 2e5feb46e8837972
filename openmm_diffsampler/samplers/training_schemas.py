"""What the checkpoints of each method hold beside model and optimiser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.coordinates.internal_target import CHIRALITY

from .learnt_coordinates import coordinates_state
from .levels_density import LevelDensity
from .schemas import Choice, Entries, Maybe, Number, Numbers, Shape, Whole, like

if TYPE_CHECKING:
    from .training import Training

__all__ = ["state_schema"]


def _own(sampler: Any) -> Any:
    """Schema of what a sampler saves for itself, once it has set up what a run needs; entries where none is known."""
    make = {"idem": _idem, "boltzmann": _boltzmann, "dikl": _dikl, "edg": _edg}.get(sampler.method)
    return Entries() if make is None else make(sampler)


def state_schema(run: Training) -> dict[str, Any]:
    """Schema of all that a training saves of itself."""
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    return {
        "step": Whole(0, run.n_steps),
        "seconds": Number(),
        "best": Number(is_finite=False),
        "n_evaluations": Whole(),
        "model": like(run.sampler.model.state_dict()),
        "average": like(run.sampler.average.state_dict()),
        "optimizer": _moments(parameters),
        "generator": like({"": run.generator.get_state()})[""],
        "sampler": _own(run.sampler),
    }


def _moments(parameters: list[torch.Tensor]) -> dict[str, Any]:
    """Schema of the moments of Adam, which parameters have after their first step."""
    one = Shape((), torch.float32)
    return {
        str(k): Maybe({"step": one, **like({"exp_avg": p.detach(), "exp_avg_sq": p.detach()})})
        for k, p in enumerate(parameters)
    }


def _coordinates(target: Any) -> dict[str, Any]:
    """Of what is learnt of whitened coordinates."""
    return {name: _of_coordinates(state) for name, state in coordinates_state(target).items()}


def _of_coordinates(state: dict[str, Any]) -> dict[str, Any]:
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return {"chirality": Choice(CHIRALITY), **like(tensors)}


def _levels() -> dict[str, Any]:
    return {name: shape._replace(least=0.0) for name, shape in like(LevelDensity(adaptive=True).state_dict()).items()}


def _idem(sampler: Any) -> dict[str, Any]:
    shape, grid = sampler.target.event_shape, len(sampler.tables.size)
    return {
        "buffer": Shape(("buffer", *shape)),
        "size": Whole(1),
        "width": Number(),
        "tables": {"size": Shape((grid, ...)), "cost": Shape((grid,))},
        "held out": Maybe(Shape(("held out",))),
        "targets": {
            "step_size": Maybe(Number()),
            "mixing": Shape(("levels",), torch.float64),
            "importance": Shape(("levels",), torch.float64),
        },
        "density": _levels(),
        **_coordinates(sampler.target),
    }


def _boltzmann(sampler: Any) -> dict[str, Any]:
    target = sampler.internal
    d, shape = target.n_degrees_of_freedom, tuple(target.event_shape)
    n_circular = len(target.turning) if isinstance(target, InternalTarget) else 0
    sampling = {
        "columns": {
            "order": Numbers(tuple(range(d)), is_ordered=False),
            "n_circular": Whole(n_circular, n_circular),
            "centre": Shape((d,)),
            "scale": Shape((d,)),
            "period": Shape((d,)),
            "event_shape": Numbers(shape),
        },
        "step size": Maybe(Number()),
        "held out": Maybe(Shape(("held out",))),
    }
    if target.translation_invariant and not isinstance(target, InternalTarget):
        sampling["columns"]["basis"] = Shape((d, math.prod(shape)))
    if isinstance(target, InternalTarget):
        sampling |= {
            "positions": Shape(tuple(target.positions.shape)),
            "widths": Shape((d,)),
            "chirality": Choice(CHIRALITY),
        }
    return {
        "sampling": sampling,
        "columns": Shape(("rows", d)),
        "potentials": Shape(("rows",)),
        "held columns": Shape(("held rows", d)),
        "held potentials": Shape(("held rows",)),
        "own columns": Shape(("own rows", d)),
        "own potentials": Shape(("own rows",)),
        "log Z": Maybe(Number()),
    }


def _dikl(sampler: Any) -> dict[str, Any]:
    rows = Shape(("kept", *sampler.target.event_shape))
    kept = {"z": rows, "noise": rows, "t": Shape(("kept",)), "x": rows}
    companion = sampler.companion
    return {
        "pool": Shape(("pool", *sampler.target.event_shape)),
        "kept": {name: Maybe(kind) for name, kind in kept.items()},
        "sizes": Shape(tuple(sampler.weights.sizes.shape), torch.float64),
        "gaps": [Maybe(Number(is_finite=False)), Number(is_finite=False), Whole()],
        "posterior": like(sampler.posterior.state_dict()),
        "companion": like(companion.network.state_dict()),
        "optimizer": _moments(list(companion.network.parameters())),
        **_coordinates(sampler.target),
    }


def _edg(sampler: Any) -> dict[str, Any]:
    return {"levels": _levels(), **_coordinates(sampler.target)}
