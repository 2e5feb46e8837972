"""Equilibrium configurations of an OpenMM System, with importance weights, by diffusion-inspired sampling."""

import os
from importlib import import_module

# Torch's threads would spin between its operations and hold the cores that compiled kernels run on. Read when torch is
# loaded, so this helps where nobody has imported it before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Public name → the module that defines it; loaded when first used, so that the import itself stays cheap.
_HOMES = {
    "load_system": "targets",
    "save_system": "targets",
    "list_systems": "targets",
    "Target": "targets",
    "OpenMMTarget": "targets",
    "GaussianMixture": "targets",
    "ManyWell": "targets",
    "DoubleWell": "targets",
    "LennardJones": "targets",
    "gmm40": "targets",
    "DiffusiveGibbs": "mcmc",
    "DiffusiveGibbsIntegrator": "mcmc.integrator",
    "DiffusiveGibbsMove": "mcmc.move",
    "InternalDiffusiveGibbs": "mcmc",
    "HMC": "mcmc",
    "MALA": "mcmc",
    "ParallelTempering": "mcmc",
    "BoltzmannGenerator": "samplers",
    "DiKL": "samplers",
    "EDG": "samplers",
    "IDEM": "samplers",
    "load_pretrained": "samplers",
    "WeightedTrajectory": "analysis",
    "free_energy_surface": "analysis",
}

__all__ = sorted(_HOMES)


def __getattr__(name):
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
