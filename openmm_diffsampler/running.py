"""From the words of a command to a target, a sampler and a start."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from openmm import unit

from .mcmc import HMC, MALA, Goal, ParallelTempering, recommended_sampler, recommended_settings
from .mcmc.rungs import geometric_ladder
from .mcmc.sampler import BatchedSampler
from .targets import AnalyticSystem, MolecularSystem, Target

__all__ = ["METHODS", "build_run", "goal_of", "require_options"]

METHODS = ("digs", "tempering", "hmc", "mala")
#: Settings that mean something in Cartesian coordinates only.
_CARTESIAN = ("step_size", "torsion_scale")
#: Rungs of a ladder, and how much hotter than the target it ends, where nothing is given.
_N_RUNGS, _HOTTEST = 8, 10 / 3


def require_options(
    temperature: float | None, given: Mapping[str, float | list[float] | str | None], hottest: float | None
) -> None:
    """Check the numbers that a user typed; None is not given.

    Raises:
        ValueError: one that is not finite, or not above zero; a torsion scale may be zero.

    Example:
        >>> require_options(-300.0, {}, None)
        Traceback (most recent call last):
        ValueError: --temperature is -300.0; give a number above zero (in kelvin)
    """
    _require_positive("--temperature", temperature, "in kelvin")
    _require_positive("--hottest", hottest, "in kelvin, or times the temperature of a density")
    _require_positive("--step-size", given.get("step_size"), "in nm")
    for scale in given.get("noise_scales") or []:
        _require_positive("--noise-scale", scale, "in nm, or thermal widths")
    scale = given.get("torsion_scale")
    if scale is not None and not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"--torsion-scale is {scale}; give a number of zero or more (in rad)")


def goal_of(draws: int | None, **limits: float | None) -> Goal | None:
    """What a run goes on for, or None for one of fixed length.

    Raises:
        ValueError: both are given, or a limit that is not a number above zero.

    Example:
        >>> goal_of(None, effective_samples=500.0, minutes=None).effective_samples
        500.0
    """
    given = {name: value for name, value in limits.items() if value is not None}
    if draws is None:
        return Goal(**given)
    if given:
        names = ", ".join("--" + name.removesuffix("_samples") for name in given)
        raise ValueError(f"--draws fixes the length of the run, and {names} would end it; give one or the other")
    return None


def _require_positive(option: str, value: float | None, in_units: str) -> None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{option} is {value}; give a number above zero ({in_units})")


def build_run(
    loaded: MolecularSystem | AnalyticSystem,
    method: str,
    n_chains: int,
    seed: int,
    temperature: float | None,
    backend: str,
    given: Mapping[str, float | list[float] | str | None],
    coordinates: str = "auto",
    ladder: tuple[float | None, int | None] = (None, None),
) -> tuple[Target, BatchedSampler, str, Any]:
    """The target, the sampler, why that one, and where `n_chains` chains start: all in one place, or each in its own.

    Arguments:
        loaded: what ``load_system`` returned.
        method: one of ``METHODS``.
        n_chains, seed: of the chains.
        temperature: in kelvin, or None for that of the system.
        backend: of molecular targets.
        given: settings of the sampler that replace the recommended ones; None is not given.
        coordinates: of diffusive Gibbs sampling. Noise scales, step size and torsion scale are Cartesian unless these
            are "internal".
        ladder: (hottest temperature, rungs) of replica exchange, in kelvin, or times that of a density without
            temperature; None where one is not given.

    Raises:
        ValueError: what the system or the method has no use for.
    """
    hottest, n_rungs = ladder
    if method not in ("digs", "tempering") and (hottest or n_rungs):
        raise ValueError(f"{method} knows one temperature; use method digs or tempering with a ladder")
    if method != "digs" and coordinates != "auto":
        raise ValueError(f"{method} samples in Cartesian coordinates alone; coordinates are for method digs")
    if method != "digs" and given.get("starts"):
        raise ValueError(f"chains of {method} start in the positions; --start is for method digs")
    if method == "digs" and n_rungs and not hottest:
        raise ValueError("give the hottest temperature with the number of rungs")
    if isinstance(loaded, MolecularSystem):
        if temperature is not None:
            loaded = dataclasses.replace(loaded, temperature=temperature * unit.kelvin)
        target = loaded.target(backend=backend)
        initial = loaded.positions
    else:
        if temperature is not None or backend != "auto":
            raise ValueError(f"{loaded.name} is a density in closed form, which has no temperature and no backend")
        target = loaded.target()
        initial = target.normal(n_chains, torch.Generator().manual_seed(seed))
    given = {k: v for k, v in given.items() if v not in (None, [])}
    if hottest:
        ratio = hottest / (target.temperature / unit.kelvin if target.temperature else 1.0)
        given["inverse_temperatures"] = geometric_ladder(ratio, n_rungs or _N_RUNGS)
    if method == "digs":
        return target, *_diffusive_gibbs(target, initial, n_chains, coordinates, given), initial
    settings = recommended_settings(target, initial, n_chains) | given
    return target, _baseline(target, method, settings, n_rungs), "as asked for", initial


def _diffusive_gibbs(target, initial, n_chains, coordinates, given):
    unsuited = [name for name in _CARTESIAN if name in given]
    if coordinates == "internal" and unsuited:
        raise ValueError(f"{' and '.join(unsuited)} belong to Cartesian coordinates; internal ones measure their own")
    cartesian = unsuited + [name for name in ("noise_scales",) if name in given]
    if coordinates == "auto" and cartesian:
        coordinates = "cartesian"
    if given.get("torsion_scale") == 0:
        given = given | {"torsion_scale": None}
    sampler, why = recommended_sampler(target, initial, n_chains, coordinates=coordinates, **given)
    if cartesian and coordinates != "internal":
        why = f"{cartesian[0]} is given in Cartesian coordinates"
    return sampler, why


def _baseline(target, method, settings, n_rungs):
    if method == "mala":
        return MALA(target, step_size=settings["step_size"])
    options = {"step_size": settings["step_size"], "n_leapfrog": settings["n_leapfrog"]}
    if method == "hmc":
        return HMC(target, **options)
    if "inverse_temperatures" not in settings:
        if target.temperature is None:
            raise ValueError(f"tempering of {target.name} needs a hottest temperature, as a multiple of its own")
        settings["inverse_temperatures"] = geometric_ladder(_HOTTEST, n_rungs or _N_RUNGS)
    return ParallelTempering(target, settings["inverse_temperatures"], **options)
