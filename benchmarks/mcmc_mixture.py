"""Forty Gaussians, judged by the weights of their modes."""

import numpy as np
from mcmc_scores import floor, mean_and_spread, mean_and_worst, total_variation

from openmm_diffsampler import gmm40
from openmm_diffsampler.analysis import chains_as_array, effective_sample_size


class MixtureProblem:
    """The mixture of 40 Gaussians, judged by the weights of its modes; chains start at the first centre."""

    name, dynamics, has_bonds, needs_reference = "mog40", None, False, False

    def __init__(self):
        self.target = gmm40()

    def start(self, seed):
        return self.target.means[0]

    def measure(self, wt):
        modes = chains_as_array(self.target.mode(wt.x).numpy(), wt.chain, wt.draw)
        ess = [effective_sample_size(chains_as_array(c.numpy(), wt.chain, wt.draw)) for c in wt.x.T]
        counts = [np.bincount(chain, minlength=40).tolist() for chain in modes.T]
        return {"frames": len(wt), "counts": counts, "ess": ess, "crossings": int((np.diff(modes, axis=0) != 0).sum())}

    def reference(self, file=None):
        return np.full(40, 1 / 40)

    def cells(self, rows, reference):
        counts = [np.array(row["counts"]) for row in rows]
        every = [c.sum(0) for c in counts]
        alone = [np.mean([total_variation(chain / chain.sum(), reference) for chain in c]) for c in counts]
        floors = floor(reference, counts[0][0].sum()), floor(reference, every[0].sum())
        found = [int((c > 0).sum()) for c in every]
        per_million = [1e6 / row["evaluations"] for row in rows]
        return {
            "modes of 40": f"{np.mean(found):.1f}",
            "seeds with all": f"{found.count(40)} of {len(rows)}",
            "mode weights TV of a chain (worst)": mean_and_worst(alone),
            "exact draws": f"{floors[0]:.3f}",
            "mode weights TV (worst)": mean_and_worst([total_variation(c / c.sum(), reference) for c in every]),
            "exact draws, all": f"{floors[1]:.3f}",
            "ESS / 10⁶": mean_and_spread([min(row["ess"]) * m for row, m in zip(rows, per_million, strict=True)]),
            "crossings / 10⁶": mean_and_spread(
                [row["crossings"] * m for row, m in zip(rows, per_million, strict=True)]
            ),
        }

    def note(self, reference):
        return "Reference: exact. Beside a total variation stands that of as many exact independent draws."
