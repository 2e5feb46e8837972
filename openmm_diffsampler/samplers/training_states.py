"""Whether a saved state of training belongs to a training run: entries, kinds and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from openmm_diffsampler._common.quoting import shown

if TYPE_CHECKING:
    from .training import Training

__all__ = ["require_like", "require_training_state"]


def require_training_state(state: Any, training: Training) -> None:
    """Raise unless `state` is one that the training could have saved; what is its sampler's own is not looked at.

    Raises:
        ValueError: an entry is missing, of another kind, or a tensor has another shape; the message says which.
    """
    names = {"step", "seconds", "best", "n_evaluations", "model", "average", "optimizer", "generator", "sampler"}
    if not isinstance(state, dict) or not names <= state.keys():
        raise ValueError("it has no state of a training")
    for name, most in (("step", training.n_steps), ("n_evaluations", math.inf)):
        if type(state[name]) is not int or not 0 <= state[name] <= most:
            raise ValueError(f"its {name} is {shown(state[name])}")
    for name, is_possible in (("seconds", math.isfinite(_number(state, "seconds"))), ("best", _is_loss(state))):
        if not is_possible:
            raise ValueError(f"its {name} is {shown(state[name])}")
    require_like(state["model"], training.sampler.model.state_dict(), "model")
    require_like(state["average"], training.sampler.average.state_dict(), "average")
    require_like({"state": state["generator"]}, {"state": training.generator.get_state()}, "generator")
    _require_moments(state["optimizer"], training.optimizer)
    if not isinstance(state["sampler"], dict):
        raise ValueError("it has no state of a sampler")


def _number(state: Mapping[str, Any], name: str) -> float:
    return state[name] if type(state[name]) in (int, float) else math.nan


def _is_loss(state: Mapping[str, Any]) -> bool:
    return not math.isnan(_number(state, "best"))


def require_like(found: Any, ours: Mapping[str, torch.Tensor], name: str) -> None:
    """Raise unless `found` holds tensors of the names, shapes and kinds of `ours`.

    Raises:
        ValueError: it does not; the message says what of `name` differs.
    """
    if not isinstance(found, dict) or found.keys() != ours.keys():
        raise ValueError(f"its {name} has other entries than that of this run")
    for key, tensor in ours.items():
        theirs = found[key]
        if not isinstance(theirs, torch.Tensor) or theirs.shape != tensor.shape or theirs.dtype != tensor.dtype:
            what = f"{tuple(theirs.shape)}, {theirs.dtype}" if isinstance(theirs, torch.Tensor) else shown(theirs)
            raise ValueError(
                f"{key} of its {name} is {what}; that of this run is {tuple(tensor.shape)}, {tensor.dtype}"
            )


def _require_moments(found: Any, optimizer: torch.optim.Optimizer) -> None:
    """Moments of Adam, for none of the parameters before the first step."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    if not isinstance(found, dict) or not found.keys() <= {str(k) for k in range(len(parameters))}:
        raise ValueError("its optimizer has other parameters than that of this run")
    for key, moments in found.items():
        ours = parameters[int(key)].detach()
        require_like(moments, {"step": torch.zeros(()), "exp_avg": ours, "exp_avg_sq": ours}, f"optimizer, {key}:")
