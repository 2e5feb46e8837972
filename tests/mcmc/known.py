"""Systems whose distributions are known, and how well an average over a correlated series is known."""

import math

import numpy as np
import openmm
from openmm import unit
from scipy.integrate import quad

__all__ = [
    "KT",
    "PLATFORMS",
    "REFERENCE",
    "TEMPERATURE",
    "ball",
    "mean_and_error",
    "oscillator",
    "quartic_well",
    "two_mode_molecule",
]

TEMPERATURE = 300 * unit.kelvin
KT = 8.31446261815324e-3 * 300
REFERENCE = openmm.Platform.getPlatformByName("Reference")


def one_particle(expression, mass=1.0):
    system, force = openmm.System(), openmm.CustomExternalForce(expression)
    system.addParticle(mass)
    force.addParticle(0, [])
    system.addForce(force)
    return system


def oscillator(mass=1.0):
    """System of one particle with ⟨x²⟩ = kT/k for k = 1000, 4000, 16000 along x, y, z."""
    return one_particle("0.5*(1000*x^2 + 4000*y^2 + 16000*z^2)", mass)


def quartic_well():
    """System of one particle in 2·10⁵ r⁴ kJ/mol/nm⁴, and its ⟨r⁴⟩: equipartition makes U = ¾ kT."""
    return one_particle("200000*(x^2 + y^2 + z^2)^2"), 0.75 * KT / 200000


def ball(power=3):
    """System of one particle with p ∝ (1 − r²)^power inside the unit ball and a NaN energy outside, and its ⟨r²⟩."""
    return one_particle(f"-{power * KT}*log(1 - x^2 - y^2 - z^2)"), 1.5 / (1.5 + power + 1)


def two_mode_molecule():
    """A bent molecule A–B–C whose bond B–C is short (a sixth of the time) or long.

    Returns the system, a start with a short bond and the probability that it is long.

    With the other internal coordinates integrated out, p(r) ∝ r² e^{−U(r)/kT} for that bond.
    """
    system = openmm.System()
    for mass in (12.0, 14.0, 16.0):
        system.addParticle(mass)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    bond.addBond(0, 1, 0.15, 20000.0)
    angle.addAngle(0, 1, 2, math.radians(110), 100.0)
    double_well = openmm.CustomBondForce(f"{KT}*(5*(((r - 0.2)/0.05)^2 - 1)^2 - 0.3*(r - 0.2)/0.05)")
    double_well.addBond(1, 2, [])
    for force in (bond, angle, double_well):
        system.addForce(force)

    def density(r):
        y = (r - 0.2) / 0.05
        return r**2 * math.exp(-5 * (y**2 - 1) ** 2 + 0.3 * y)

    long, short = quad(density, 0.2, 0.4)[0], quad(density, 0, 0.2)[0]
    start = np.array([[0.15, 0, 0], [0, 0, 0], [-0.05, 0.14, 0]])
    return system, start, long / (long + short)


def mean_and_error(series, n_blocks=25):
    """Mean of a correlated series (n,) and its standard error from block averages."""
    series = np.asarray(series, dtype=float)
    blocks = series[: len(series) // n_blocks * n_blocks].reshape(n_blocks, -1).mean(1)
    return blocks.mean(), blocks.std(ddof=1) / math.sqrt(n_blocks)


def _works(platform, properties):
    """Whether kernels compile and run: a platform may be listed without a driver that is up to it."""
    integrator = openmm.CustomIntegrator(0.001)
    integrator.addComputePerDof("v", "1/(2 + x)^2")
    try:
        context = openmm.Context(oscillator(), integrator, openmm.Platform.getPlatformByName(platform), properties)
        context.setPositions([[0, 0, 0]])
        integrator.step(1)
        context.getState(energy=True)
    except openmm.OpenMMException:
        return False
    return True


_CANDIDATES = [
    ("Reference", {}),
    ("CPU", {"Threads": "1", "DeterministicForces": "true"}),
    *((gpu, {"Precision": precision}) for gpu in ("OpenCL", "CUDA", "HIP") for precision in ("mixed", "double")),
]

#: (name, properties) of every platform that works on this machine.
PLATFORMS = [candidate for candidate in _CANDIDATES if _works(*candidate)]
