"""A sampler for a target that nobody has tuned."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from openmm_diffsampler.coordinates import (
    MissingBondsWarning,
    NoInternalCoordinatesError,
    how_to_add_bonds,
    missing_bonds,
    rotatable_torsions,
    unbonded_molecules,
)
from openmm_diffsampler.coordinates.graph import component, neighbours
from openmm_diffsampler.coordinates.smallest_rings import ring_parts

from .baselines import MALA
from .diffusive_gibbs import DiffusiveGibbs
from .internal_diffusive_gibbs import InternalDiffusiveGibbs
from .state import evaluate, initial_state

if TYPE_CHECKING:
    import torch

    from openmm_diffsampler.targets import Target

    from .sampler import BatchedSampler

__all__ = ["COORDINATES", "recommended_sampler", "recommended_settings", "thermal_width"]

COORDINATES = ("auto", "internal", "cartesian")


def recommended_sampler(
    target: Target, initial: Any, n_chains: int | None = None, *, coordinates: str = "auto", **settings: Any
) -> tuple[BatchedSampler, str]:
    """The diffusive Gibbs sampler that suits `target`, and why, in words.

    A molecule, rigid or not, gets :class:`~openmm_diffsampler.mcmc.InternalDiffusiveGibbs`.
    What internal coordinates cannot describe (no bonds, an external field) and everything else gets
    :class:`~openmm_diffsampler.mcmc.DiffusiveGibbs` with :func:`recommended_settings`. Replica exchange is only used on
    request: measured, it costs more than it gains where torsions are guessed and rings jump.

    Arguments:
        target: what is sampled.
        initial, n_chains: as for sampling.
        coordinates: ``"auto"``, ``"internal"`` or ``"cartesian"``.
        settings: keyword arguments of the sampler, instead of the recommended ones.

    Raises:
        ValueError: unknown coordinates; "internal" for a target without them; starts for chains in Cartesian ones;
            "auto" for a molecule whose bonds the topology lacks, since in Cartesian coordinates its torsions would not
            turn.

    Warns:
        MissingBondsWarning: the topology lacks some bonds, or there is none, or coordinates are "cartesian".

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> sampler, why = recommended_sampler(molecule.target(), molecule.positions)
        >>> print(type(sampler).__name__, "-", why)
        InternalDiffusiveGibbs - rotatable torsions: 7
    """
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinates are {coordinates!r}; supported are {', '.join(map(repr, COORDINATES))}")
    if coordinates != "cartesian":
        _require_bonds(target, initial, n_chains)
        try:
            return _internal(target, initial, settings, required=coordinates == "internal")
        except NoInternalCoordinatesError as error:
            if coordinates == "internal":
                raise
            why = str(error)
    else:
        why = "as asked for"
    if "starts" in settings:
        raise ValueError(f"in Cartesian coordinates ({why}) chains start in the positions; leave starts out")
    return DiffusiveGibbs(target, **(recommended_settings(target, initial, n_chains) | settings)), why


def _require_bonds(target: Target, initial: Any, n_chains: int | None) -> None:
    """Raise for a molecule without bonds in the topology: torsions that nobody knows are not turned."""
    missing, topology = _missing_bonds(target, initial, n_chains), target.topology
    molecules = unbonded_molecules(target.system, topology, missing) if missing else []
    if molecules:
        what = "has no topology" if topology is None else "has a topology without bonds"
        if topology is not None and topology.n_bonds:
            what += f" of {len(molecules)} of its molecules (that of {topology.atom(molecules[0][0])})"
        raise ValueError(
            f"{target.name} {what}, and its forces bind {len(missing)} pairs of atoms: no torsion can be turned, and "
            "Cartesian chains rarely cross their barriers. Add the bonds (topology.addBond, CONECT records of a PDB "
            'file, or the file that the System was made from), or ask for coordinates="cartesian"'
        )


def _missing_bonds(target: Target, initial: Any, n_chains: int | None) -> list[tuple[int, int]]:
    """Bonds that the System has, and the topology lacks or is not there to have."""
    if not hasattr(target, "system"):
        return []
    x = initial_state(target, initial, n_chains).x[0].cpu()
    return missing_bonds(target.system, target.topology, x)


def _internal(target: Target, initial: Any, settings: dict[str, Any], required: bool) -> tuple[BatchedSampler, str]:
    topology = target.topology
    if not required:
        if topology is None or not topology.n_bonds:
            raise NoInternalCoordinatesError("no particles" if topology is None else "the topology has no bonds")
        bonded = neighbours(topology)
        is_one = topology.n_atoms > 3 and len(component(bonded, 0)) == topology.n_atoms
        if not is_one and not rotatable_torsions(topology) and not any(ring_parts(bonded)):
            raise NoInternalCoordinatesError("no rotatable torsions and no rings")
    sampler = InternalDiffusiveGibbs(target, initial, **settings)
    counted = {
        "rotatable torsions": sampler.rotatable,
        "rings and nitrogens of several shapes": sampler.basins,
        "double bonds that stay as they are": sampler.double_bonds,
    }
    found = ", ".join(f"{what}: {len(found)}" for what, found in counted.items() if found)
    return sampler, found or "nothing turns or flips: Hamiltonian steps alone"


def recommended_settings(target: Target, initial: Any, n_chains: int | None = None) -> dict[str, Any]:
    """Keyword arguments of :class:`~openmm_diffsampler.mcmc.DiffusiveGibbs` that suit `target`.

    A molecule with rotatable bonds gets torsion noise of 1.5 rad, which turns a bond nearly at random, and one
    Cartesian level of 0.01 nm, several widths of a bond's vibration, whose Hamiltonian steps relax what rotations leave
    alone. Anything else gets levels of 10 and 1 times its :func:`thermal_width`.

    Arguments:
        target: what is sampled.
        initial, n_chains: as for sampling.

    Warns:
        MissingBondsWarning: the System has bonds that the topology lacks, or there is no topology.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> recommended_settings(molecule.target(), molecule.positions)["torsion_scale"]
        1.5
    """
    if missing := _missing_bonds(target, initial, n_chains):
        warnings.warn(
            f"the topology of {target.name} lacks {how_to_add_bonds(target.topology, missing)}; torsions about them "
            "are not turned, so populations of conformers may be wrong",
            MissingBondsWarning,
            stacklevel=3,
        )
    if target.topology is not None:
        n_rotatable = len(rotatable_torsions(target.topology))
        if n_rotatable:
            return {
                "noise_scales": [0.01],
                "step_size": 0.0015,
                "n_leapfrog": 8,
                "torsion_scale": 1.5,
                "n_torsion_trials": 3 * n_rotatable,
            }
    width = thermal_width(target, initial, n_chains)
    return {"noise_scales": [10 * width, width], "step_size": 0.5 * width, "n_leapfrog": 8}


def thermal_width(target: Target, initial: torch.Tensor, n_chains: int | None = None) -> float:
    r"""√(d/⟨|∇u|²⟩), the root mean square width of the target's narrow directions, from a short MALA run.

    Since ⟨|∇u|²⟩ = ⟨∇²u⟩, it is the width itself for an isotropic Gaussian, and near the smallest one for others.
    """
    state = initial_state(target, initial, n_chains)
    mean_square = float(state.score.flatten(1).square().sum(1).mean())
    step = (target.n_degrees_of_freedom / max(mean_square, 1e-12)) ** 0.5
    run = MALA(target, step_size=min(step, 1.0)).sample(initial, 20, n_chains=n_chains, n_warmup=200)
    score = evaluate(target, run.x.to(target.device, target.dtype)).score
    return float((target.n_degrees_of_freedom / score.flatten(1).square().sum(1).mean()) ** 0.5)
