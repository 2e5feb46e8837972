"""What samples become: weighted trajectories, effective sample sizes, free-energy surfaces, plots and the report.

Weights never leave their configurations: samplers return a :class:`WeightedTrajectory`, and everything here takes one.
matplotlib, mdtraj and POT are imported by the functions that need them.
"""

from .basin_agreement import UnderRepresented, under_represented
from .comparison_plots import plot_comparison
from .conformers import conformer_populations, well_populations
from .diagnostics import chains_as_array, effective_sample_size, r_hat
from .forward_diagnostics import ForwardDiagnostics, forward_diagnostics
from .free_energy import (
    ALANINE_DIPEPTIDE_BASINS,
    FreeEnergySurface,
    basin_populations,
    free_energy_surface,
    torsion_angles,
)
from .intervals import interval_of_counts, population_interval
from .marginals import torsion_marginal
from .md_comparison import ComparisonRun, short_md
from .mdanalysis_export import to_mdanalysis
from .mmd import MMD, maximum_mean_discrepancy
from .observables import default_observables
from .plots import plot_chain_diagnostics, plot_energy_histogram
from .populations import Population, population, population_text, unvisited_bound
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
from .surface_plots import plot_free_energy_surface
from .torsion_convergence import TorsionConvergence, torsion_convergence
from .torsion_plots import plot_torsion_convergence
from .torsion_wells import TorsionWells, find_wells
from .torsions import MoleculeTorsion, molecule_torsions
from .weight_plots import plot_weights
from .weighted_trajectory import Estimate, WeightedTrajectory

__all__ = [
    "ALANINE_DIPEPTIDE_BASINS",
    "MMD",
    "ComparisonRun",
    "EnergyDistances",
    "Estimate",
    "Floor",
    "ForwardDiagnostics",
    "FreeEnergySurface",
    "MoleculeTorsion",
    "Population",
    "TorsionConvergence",
    "TorsionWells",
    "UnderRepresented",
    "WeightedTrajectory",
    "basin_populations",
    "bootstrap_floor",
    "chains_as_array",
    "conformer_populations",
    "default_observables",
    "distance_total_variation",
    "effective_sample_size",
    "energy_distances",
    "find_wells",
    "forward_diagnostics",
    "free_energy_surface",
    "interval_of_counts",
    "maximum_mean_discrepancy",
    "molecule_torsions",
    "plot_chain_diagnostics",
    "plot_comparison",
    "plot_energy_histogram",
    "plot_free_energy_surface",
    "plot_torsion_convergence",
    "plot_weights",
    "population",
    "population_interval",
    "population_text",
    "r_hat",
    "short_md",
    "surface_torsions",
    "symmetric_wasserstein",
    "to_mdanalysis",
    "torsion_angles",
    "torsion_convergence",
    "torsion_marginal",
    "under_represented",
    "unvisited_bound",
    "well_populations",
    "write_report",
    "write_results",
]
