"""Convergence of chains torsion by torsion: R-hat, effective sample size, transitions between wells."""

from dataclasses import dataclass

import numpy as np

from .diagnostics import chains_as_array, effective_sample_size, r_hat
from .torsions import MoleculeTorsion, molecule_torsions

__all__ = ["TorsionConvergence", "torsion_convergence"]

#: Customary limits: below this R-hat the chains agree, and above this ESS its estimate can be relied on.
R_HAT_LIMIT, ESS_LIMIT = 1.01, 400


@dataclass(frozen=True, eq=False)
class TorsionConvergence:
    """What the chains tell of one torsion; see :func:`torsion_convergence`.

    Attributes:
        torsion: MoleculeTorsion.
        r_hat: the larger one of cos nθ and sin nθ, n the order of its symmetry; NaN for fewer than four draws a chain.
        effective_sample_size: the smaller one of cos nθ and sin nθ.
        transitions: (n_chains,) integers, how often each chain changed its well from frame to frame.
    """

    torsion: MoleculeTorsion
    r_hat: float
    effective_sample_size: float
    transitions: np.ndarray

    @property
    def converged(self):
        """Whether R-hat is below 1.01 and the effective sample size above 400."""
        return bool(self.r_hat < R_HAT_LIMIT and self.effective_sample_size > ESS_LIMIT)

    @property
    def verdict(self):
        """In words: "yes", or what is wrong."""
        if self.converged:
            return "yes"
        if np.isnan(self.r_hat):
            return "unknown: chains too short"
        if len(self.torsion.wells) > 1 and not self.transitions.any():
            return "no: chains stay in their wells"
        if self.r_hat >= R_HAT_LIMIT:
            return f"no: R-hat above {R_HAT_LIMIT:g}"
        return f"no: ESS below {ESS_LIMIT}"


def torsion_convergence(wt, torsions=None):
    """R-hat, effective sample size and transitions of every torsion of a molecule.

    Angles are periodic, so that R-hat and the effective sample size are those of cos nθ and sin nθ, whichever is worse;
    n is 1, and for symmetric groups their order, so that wells that are one conformer count as one. A
    transition is a change of well between successive frames of a chain; what happened between saved frames is not seen.
    Chains that all missed the same well agree, and no diagnostic of this kind can tell.

    Arguments:
        wt: a WeightedTrajectory of kind "mcmc".
        torsions: list of MoleculeTorsion; by default :func:`~openmm_diffsampler.analysis.molecule_torsions`.

    Returns:
        list of TorsionConvergence, in the order of `torsions`.

    Raises:
        ValueError: the frames are not of chains.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(200, 4, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> phi = torsion_convergence(WeightedTrajectory.from_chains(x, topology=topology))[0]
        >>> phi.torsion.name, phi.r_hat < 1.02, phi.effective_sample_size > 500, phi.transitions.shape
        ('phi', True, True, (4,))
    """
    if wt.kind != "mcmc":
        raise ValueError(f"the trajectory has kind {wt.kind!r}; only chains (kind 'mcmc') can disagree")
    rows = []
    for torsion in molecule_torsions(wt) if torsions is None else torsions:
        radians = torsion.order * np.radians(torsion.angles)
        both = [chains_as_array(f(radians), wt.chain, wt.draw) for f in (np.cos, np.sin)]
        state = chains_as_array(torsion.state, wt.chain, wt.draw)
        rows.append(
            TorsionConvergence(
                torsion=torsion,
                r_hat=max(r_hat(values) for values in both),
                effective_sample_size=min(effective_sample_size(values) for values in both),
                transitions=(state[1:] != state[:-1]).sum(0),
            )
        )
    return rows


def worst_first(rows):
    """Those not converged, then by falling R-hat; symmetric groups last, whose wells are one conformer."""
    return sorted(rows, key=lambda row: (row.torsion.symmetric, row.converged, -np.nan_to_num(row.r_hat, nan=np.inf)))
