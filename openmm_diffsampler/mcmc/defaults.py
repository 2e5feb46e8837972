"""Settings of diffusive Gibbs sampling for a target that nobody has tuned."""

from openmm_diffsampler.coordinates import rotatable_torsions

from .baselines import MALA
from .state import evaluate, initial_state

__all__ = ["recommended_settings", "thermal_width"]


def recommended_settings(target, initial, n_chains=None):
    """Keyword arguments of :class:`~openmm_diffsampler.mcmc.DiffusiveGibbs` that suit `target`.

    A molecule with rotatable bonds gets torsion noise of 1.5 rad, which turns a bond nearly at random, and one
    Cartesian level of 0.01 nm, several widths of a bond's vibration, whose Hamiltonian steps relax what rotations leave
    alone. Anything else gets levels of 10 and 1 times its :func:`thermal_width`.

    Arguments:
        target: what is sampled.
        initial, n_chains: as for sampling.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> recommended_settings(molecule.target(), molecule.positions)["torsion_scale"]
        1.5
    """
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


def thermal_width(target, initial, n_chains=None):
    r"""√(d/⟨|∇u|²⟩), the root mean square width of the target's narrow directions, from a short MALA run.

    Since ⟨|∇u|²⟩ = ⟨∇²u⟩, it is the width itself for an isotropic Gaussian, and near the smallest one for others.
    """
    state = initial_state(target, initial, n_chains)
    mean_square = float(state.score.flatten(1).square().sum(1).mean())
    step = (target.n_degrees_of_freedom / max(mean_square, 1e-12)) ** 0.5
    run = MALA(target, step_size=min(step, 1.0)).sample(initial, 20, n_chains=n_chains, n_warmup=200)
    score = evaluate(target, run.x.to(target.device, target.dtype)).score
    return float((target.n_degrees_of_freedom / score.flatten(1).square().sum(1).mean()) ** 0.5)
