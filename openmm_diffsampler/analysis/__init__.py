"""What samples become: weighted trajectories, effective sample sizes, free-energy surfaces, plots and the report.

Weights never leave their configurations: samplers return a :class:`WeightedTrajectory`, and everything here takes one.
matplotlib and mdtraj are imported by the functions that need them.
"""

from .diagnostics import chains_as_array, effective_sample_size, r_hat
from .free_energy import (
    ALANINE_DIPEPTIDE_BASINS,
    FreeEnergySurface,
    basin_populations,
    free_energy_surface,
    torsion_angles,
)
from .mmd import MMD, maximum_mean_discrepancy
from .observables import default_observables
from .plots import plot_chain_diagnostics, plot_energy_histogram, plot_free_energy_surface
from .report import write_report
from .results import surface_torsions, write_results
from .weighted_trajectory import Estimate, WeightedTrajectory

__all__ = [
    "ALANINE_DIPEPTIDE_BASINS",
    "MMD",
    "Estimate",
    "FreeEnergySurface",
    "WeightedTrajectory",
    "basin_populations",
    "chains_as_array",
    "default_observables",
    "effective_sample_size",
    "free_energy_surface",
    "maximum_mean_discrepancy",
    "plot_chain_diagnostics",
    "plot_energy_histogram",
    "plot_free_energy_surface",
    "r_hat",
    "surface_torsions",
    "torsion_angles",
    "write_report",
    "write_results",
]
