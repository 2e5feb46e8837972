"""A chain of atoms whose bonds, angles and torsions are independent, each with a known distribution."""

import math

import mdtraj as md
import numpy as np
import openmm
import torch
from openmm import unit

from openmm_diffsampler import OpenMMTarget
from openmm_diffsampler.coordinates import InternalCoordinates

__all__ = ["TorsionChain"]

KT = 8.31446261815324e-3 * 300


class TorsionChain:
    """Atoms 0–1–2–…: p(τ_k) ∝ exp(−u_k(τ_k)) for each torsion, harmonic bonds and angles, nothing else.

    u_k = height·(1 − cos 2τ)/2 − bias_k·cos τ has wells at 0 and π, with `height` kT between them.
    """

    def __init__(self, biases=(0.5,), height=20.0):
        self.biases, self.height = biases, height
        n = len(biases) + 3
        system, bond, angle = openmm.System(), openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
        torsion = openmm.CustomTorsionForce(f"{KT}*({height}*(1 - cos(2*theta))/2 - bias*cos(theta))")
        torsion.addPerTorsionParameter("bias")
        topology = md.Topology()
        residue = topology.add_residue("MOL", topology.add_chain())
        atoms = [topology.add_atom(f"C{k}", md.element.carbon, residue) for k in range(n)]
        for k in range(n):
            system.addParticle(12)
            if k > 0:
                bond.addBond(k - 1, k, 0.15, 30000.0)
                topology.add_bond(atoms[k - 1], atoms[k])
            if k > 1:
                angle.addAngle(k - 2, k - 1, k, math.radians(110), 200.0)
            if k > 2:
                torsion.addTorsion(k - 3, k - 2, k - 1, k, [biases[k - 3]])
        for force in (bond, angle, torsion):
            system.addForce(force)
        self.coordinates = InternalCoordinates(topology)
        z = torch.zeros(1, len(self.coordinates), dtype=torch.float64)
        z[:, self.coordinates.bonds], z[:, self.coordinates.angles] = 0.15, math.radians(110)
        z[:, self.coordinates.torsions] = math.pi
        self.start = self.coordinates.to_cartesian(z)[0]
        self.target = OpenMMTarget(system, 300 * unit.kelvin, topology, positions=self.start.numpy())

    def bias_of(self):
        """The biases in the order of the torsion columns."""
        return [self.biases[min(atoms)] for atoms in self.coordinates.z_matrix.torsions.tolist()]

    def share(self, bias, beta=1.0):
        """Probability of |τ| < π/2."""
        tau = np.linspace(-math.pi, math.pi, 20001)
        density = np.exp(-beta * (self.height * (1 - np.cos(2 * tau)) / 2 - bias * np.cos(tau)))
        return density[np.abs(tau) < math.pi / 2].sum() / density[:-1].sum()

    def torsions(self, x):
        """(n, n_torsions) in (−π, π], in the order of the columns."""
        return self.coordinates.to_internal(x)[:, self.coordinates.torsions]

    def sample(self, n, generator):
        """(n, 3N − 6) exact independent draws of the internal coordinates."""
        c = self.coordinates
        z = torch.empty(n, len(c), dtype=torch.float64)

        def draw(low, high, log_density):
            grid = torch.linspace(low, high, 4001, dtype=torch.float64)
            middle = (grid[1:] + grid[:-1]) / 2
            cumulated = log_density(middle).softmax(0).cumsum(0)
            spot = torch.rand(n, generator=generator, dtype=torch.float64) * cumulated[-1]
            within = torch.rand(n, generator=generator, dtype=torch.float64)
            return grid[torch.searchsorted(cumulated, spot)] + within * (grid[1] - grid[0])

        for k in range(c.bonds.start, c.bonds.stop):
            z[:, k] = draw(0.1, 0.2, lambda r: 2 * r.log() - 15000 / KT * (r - 0.15) ** 2)
        for k in range(c.angles.start, c.angles.stop):
            z[:, k] = draw(0.5, 3.1, lambda a: a.sin().log() - 100 / KT * (a - math.radians(110)) ** 2)
        for k, bias in enumerate(self.bias_of(), c.torsions.start):
            z[:, k] = draw(-math.pi, math.pi, lambda t, b=bias: b * t.cos() - self.height * (1 - (2 * t).cos()) / 2)
        return z

    def log_z(self):
        """log ∫exp(−u)dx over configurations with their centroid at zero, by quadrature of each coordinate."""
        n = len(self.biases) + 3
        r, theta = np.linspace(0.1, 0.2, 20001), np.linspace(0.0, math.pi, 20001)
        bond = np.trapezoid(r**2 * np.exp(-0.5 * 30000.0 * (r - 0.15) ** 2 / KT), r)
        angle = np.trapezoid(np.sin(theta) * np.exp(-0.5 * 200.0 * (theta - math.radians(110)) ** 2 / KT), theta)
        log_z = math.log(8 * math.pi**2 * n**-1.5) + (n - 1) * math.log(bond) + (n - 2) * math.log(angle)
        tau = np.linspace(-math.pi, math.pi, 20001)
        for bias in self.biases:
            u = self.height * (1 - np.cos(2 * tau)) / 2 - bias * np.cos(tau)
            log_z += math.log(np.trapezoid(np.exp(-u), tau))
        return log_z
