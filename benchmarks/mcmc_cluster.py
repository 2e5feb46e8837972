"""Thirty-eight Lennard-Jones particles in a container, judged by the minima that they reach."""

import numpy as np
import openmm
import torch
from mcmc_scores import Dynamics
from openmm import unit
from scipy.optimize import minimize

from openmm_diffsampler.targets.analytic.particles import PairwiseTarget


class ContainedCluster(PairwiseTarget):
    """LJ-38 at T* = 0.12: u = Σ_{i<j} 4(r⁻¹² − r⁻⁶)/T*, infinite where a particle is beyond 2.25 σ of the centroid."""

    temperature_star, radius, n_particles = 0.12, 2.25, 38

    def __init__(self):
        pair_energy = f"{4 / self.temperature_star}*y*(y-1); y=1/r^6"
        super().__init__(38, 3, pair_energy, name="lj38", dtype=torch.float64, device="cpu")

    def _evaluate(self, x):
        return self._kernel.energy_and_forces(x)

    def _evaluate_guarded(self, x):
        u, score, valid = super()._evaluate_guarded(x)
        inside = valid & self.contains(x)
        return torch.where(inside, u, torch.inf), torch.where(inside[:, None, None], score, 0.0), inside

    def contains(self, x):
        return (x - x.mean(1, keepdim=True)).norm(dim=2).amax(1) <= self.radius

    def quench(self, x):
        """Energy in ε and positions of the minimum downhill from `x` (38, 3), without the container, not counted."""

        def energy_and_gradient(flat):
            u, score = self._kernel.energy_and_forces(torch.as_tensor(flat.reshape(1, 38, 3)))
            return float(u), -score.numpy().ravel()

        found = minimize(
            energy_and_gradient, x.numpy().ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 3000, "gtol": 1e-5}
        )
        return found.fun * self.temperature_star, torch.as_tensor(found.x.reshape(38, 3))


class ClusterProblem:
    """LJ-38, where the funnel of the lowest minimum is the narrow one. A search for minima, no claim of equilibrium."""

    name, has_bonds, needs_reference = "lj38", False, False
    #: Cambridge Cluster Database: truncated octahedron, and the lowest minimum of the icosahedral funnel.
    funnels = {"fcc": -173.928427, "icosahedral": -173.252378}  # noqa: RUF012
    n_quenched = 64

    def __init__(self):
        self.target = ContainedCluster()

    @property
    def dynamics(self):
        system = openmm.System()
        pairs = openmm.CustomNonbondedForce("4*y*(y-1); y=1/r^6")
        wall = openmm.CustomCentroidBondForce(2, "500*max(0, distance(g1,g2)-2.25)^2")
        for i in range(38):
            system.addParticle(1.0)
            pairs.addParticle([])
            wall.addGroup([i])
        wall.addGroup(list(range(38)))
        for i in range(38):
            wall.addBond([i, 38])
        system.addForce(pairs)
        system.addForce(wall)
        kelvin = self.target.temperature_star / unit.MOLAR_GAS_CONSTANT_R * unit.kilojoule_per_mole
        return Dynamics(system, kelvin, 0.01, 0.5)

    def start(self, seed):
        """A compact random cluster, quenched."""
        rng = np.random.default_rng(seed)
        while True:
            x = self._random(rng)
            _, x = self.target.quench(torch.as_tensor(x))
            x = self.target.project(x[None])
            if self.target.contains(x):
                return x[0]

    @staticmethod
    def _random(rng):
        placed = []
        while len(placed) < 38:
            new = rng.uniform(-2, 2, 3)
            if np.linalg.norm(new) < 2 and all(np.linalg.norm(new - old) > 0.85 for old in placed):
                placed.append(new)
        return np.array(placed)

    def measure(self, wt):
        """Of evenly spaced frames."""
        some = torch.linspace(0, len(wt) - 1, min(self.n_quenched, len(wt))).round().long()
        return {"frames": len(wt), "energies": [self.target.quench(x)[0] for x in wt.x[some].double()]}

    def reference(self, file=None):
        return None

    def funnel(self, energy):
        return next((name for name, e in self.funnels.items() if abs(energy - e) < 1e-3), "other")

    def cells(self, rows, reference):
        lowest = [min(row["energies"]) for row in rows]
        reached = [{self.funnel(e) for e in row["energies"]} for row in rows]
        return {
            "lowest minimum, of any seed": f"{min(lowest):.4f}",
            "mean of seeds": f"{np.mean(lowest):.4f}",
            **{
                f"seeds that reached {name}": f"{sum(name in r for r in reached)} of {len(rows)}"
                for name in self.funnels
            },
        }

    def note(self, reference):
        energies = ", ".join(f"{name} {e}" for name, e in self.funnels.items())
        return f"Energies in ε of up to {self.n_quenched} quenched frames of each seed; global minima: {energies}."
