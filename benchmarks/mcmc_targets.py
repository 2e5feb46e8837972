"""What mcmc_comparison.py samples, where chains start, and how a run is judged.

A problem has a target, a starting configuration for each seed, and three functions: ``measure`` turns a trajectory into
plain numbers that are kept, ``cells`` turns the numbers of several seeds into a row of the table, and ``note`` says
below the table what is compared with. What depends on a reference is worked out in ``cells``, so that a better
reference needs no new runs.
"""

from functools import partial

from mcmc_cluster import ClusterProblem
from mcmc_mixture import MixtureProblem
from mcmc_molecules import alanine_dipeptide, aspartame, torsional_toy

PROBLEMS = {
    "mog40": MixtureProblem,
    "alanine-dipeptide": partial(alanine_dipeptide, "alanine-dipeptide"),
    "alanine-dipeptide-vacuum": partial(alanine_dipeptide, "alanine-dipeptide-vacuum"),
    "torsional-toy": torsional_toy,
    "aspartame": aspartame,
    "lj38": ClusterProblem,
}
