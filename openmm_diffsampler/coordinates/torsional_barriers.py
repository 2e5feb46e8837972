"""How high the torsion terms of a force field stand against turning each bond."""

import math

import openmm
import torch

__all__ = ["torsional_barriers"]

_TORSION_FORCES = (openmm.PeriodicTorsionForce, openmm.RBTorsionForce, openmm.CustomTorsionForce)
_N_ANGLES = 48


def torsional_barriers(system, coordinates, positions):
    """Highest minus lowest energy of the torsion terms alone, as each rotatable torsion goes through a turn.

    That of a C=C bond is about 200 kJ/mol and that of an amide 60 to 90 kJ/mol, whatever is crowded around them.

    Arguments:
        system: openmm System.
        coordinates: :class:`~openmm_diffsampler.coordinates.InternalCoordinates` of its particles.
        positions: (n_atoms, 3) tensor, nm.

    Returns:
        dict of column → kJ/mol, zero where the System has no torsion terms.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.coordinates import InternalCoordinates
        >>> molecule = load_system("alanine-dipeptide")
        >>> coordinates = InternalCoordinates(molecule.mdtraj_topology)
        >>> x = torch.as_tensor(molecule.positions._value)
        >>> [round(b) for b in torsional_barriers(molecule.system, coordinates, x).values()]
        [12, 92, 8, 12, 0, 92, 0]
    """
    alone = openmm.System()
    for _ in range(system.getNumParticles()):
        alone.addParticle(1.0)
    for force in system.getForces():
        if isinstance(force, _TORSION_FORCES):
            alone.addForce(openmm.XmlSerializer.clone(force))
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(alone, openmm.VerletIntegrator(0.001), platform)
    z = coordinates.to_internal(positions[None].double().cpu()).repeat(_N_ANGLES, 1)
    turns = torch.arange(_N_ANGLES) * (2 * math.pi / _N_ANGLES)
    barriers = {}
    for column in coordinates.rotatable_torsions:
        turned = z.clone()
        turned[:, column] += turns
        energies = []
        for x in coordinates.place(turned).numpy():
            context.setPositions(x)
            energies.append(context.getState(energy=True).getPotentialEnergy()._value)
        barriers[column] = max(energies) - min(energies)
    return barriers
