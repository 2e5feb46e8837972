"""What a System must be like to be sampled here, and a configuration of it to try things on."""

import numpy as np
import openmm

from openmm_diffsampler._common.quoting import shortened

from .backends.foreign_forces import evaluated_alone, foreign_forces

__all__ = ["generic_positions", "require_samplable"]


def require_samplable(system: openmm.System, *, massless: bool = False, barostat: bool = False) -> None:
    """Raise unless every coordinate of `system` is free and its energy alone defines the density.

    Arguments:
        system: openmm System.
        massless: allow particles of mass zero, where the caller holds them fixed.
        barostat: allow one, where the caller leaves it to others to change the volume.

    Raises:
        TypeError: not an openmm System.
        ValueError: no particles, constraints, virtual sites, Drude particles, massless particles or a barostat, each
            with what to do.
    """
    if not isinstance(system, openmm.System):
        raise TypeError(f"system is a {type(system).__name__}; give an openmm.System (createSystem makes one)")
    n = system.getNumParticles()
    if n == 0:
        raise ValueError("the System has no particles")
    if system.getNumConstraints():
        raise ValueError(
            f"the System has {system.getNumConstraints()} constraints, which leave no density over all coordinates; "
            "build it with createSystem(..., constraints=None, rigidWater=False)"
        )
    sites = [i for i in range(n) if system.isVirtualSite(i)]
    if sites:
        raise ValueError(f"particles {_listed(sites)} are virtual sites, which are no coordinates; use a model without")
    drude = [force for force in system.getForces() if isinstance(force, openmm.DrudeForce)]
    if drude:
        pairs = [force.getParticleParameters(k)[:2] for force in drude for k in range(force.getNumParticles())]
        raise ValueError(
            f"the System has {len(pairs)} Drude particles ({_listed([pair[0] for pair in pairs])}), which stand for "
            "the polarisation of their atoms and follow them at zero temperature; here they would move like atoms at "
            "the temperature of the target. Use a force field with fixed charges"
        )
    fixed = [i for i in range(n) if system.getParticleMass(i)._value == 0]
    if fixed and not massless:
        raise ValueError(
            f"particles {_listed(fixed)} have mass zero, which OpenMM holds fixed and this target would move; "
            "give them a mass, or restrain them by a CustomExternalForce"
        )
    for force in system.getForces():
        if "Barostat" in type(force).__name__ and not barostat:
            raise ValueError(
                f"the System has a {type(force).__name__}, and what is sampled here is a density at constant volume; "
                "remove it with system.removeForce(...). To sample at constant pressure, put the openmmtools moves "
                "DiffusiveGibbsMove and MonteCarloBarostatMove in a SequenceMove"
            )


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")


def generic_positions(system: openmm.System, context: openmm.Context | None = None) -> np.ndarray:
    """Some configuration (n_atoms, 3) of finite energy in nm, by minimisation from random positions.

    Arguments:
        system: openmm System.
        context: one of the Reference platform, where there is one already.
    """
    n = system.getNumParticles()
    start = np.random.default_rng(0).normal(scale=0.2 * n ** (1 / 3), size=(n, 3))
    if context is None:
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(start)
    energy, why = np.nan, ""
    try:
        with evaluated_alone(foreign_forces(system)):
            openmm.LocalEnergyMinimizer.minimize(context, maxIterations=200)
            state = context.getState(getPositions=True, getEnergy=True)
        found, energy = state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value
    except openmm.OpenMMException as error:  # of minimising too far, or of a Python function in the System
        why = f" ({shortened(error)})"
    if not (np.isfinite(energy) and np.isfinite(found).all()):
        raise ValueError(f"no configuration of finite energy was found from random positions{why}; give positions=...")
    return np.array(found)
