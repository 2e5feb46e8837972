"""What samples become: weighted trajectories, effective sample sizes, free-energy surfaces, plots and the report.

Weights never leave their configurations: samplers return a :class:`WeightedTrajectory`, and everything here takes one.
matplotlib, mdtraj and POT are imported by the functions that need them.
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
from .sample_quality import (
    EnergyDistances,
    Floor,
    bootstrap_floor,
    distance_total_variation,
    energy_distances,
    symmetric_wasserstein,
)
from .weight_plots import plot_weights
from .weighted_trajectory import Estimate, WeightedTrajectory

__all__ = [
    "ALANINE_DIPEPTIDE_BASINS",
    "MMD",
    "EnergyDistances",
    "Estimate",
    "Floor",
    "FreeEnergySurface",
    "WeightedTrajectory",
    "basin_populations",
    "bootstrap_floor",
    "chains_as_array",
    "default_observables",
    "distance_total_variation",
    "effective_sample_size",
    "energy_distances",
    "free_energy_surface",
    "maximum_mean_discrepancy",
    "plot_chain_diagnostics",
    "plot_energy_histogram",
    "plot_free_energy_surface",
    "plot_weights",
    "r_hat",
    "surface_torsions",
    "symmetric_wasserstein",
    "torsion_angles",
    "write_report",
    "write_results",
]
