"""OpenMM's built-in forces as terms: bonds, angles, torsions, maps, non-bonded, generalised Born of type OBC2."""

from math import pi

import numpy as np
from openmm import unit

from .custom import body_term, gb_term, global_parameters, no_cutoff
from .table import MapTerm

__all__ = ["STANDARD_TRANSLATORS"]

#: 1/(4πε₀) in kJ/mol·nm/e², the value that OpenMM's kernels use.
COULOMB_CONSTANT = 138.93545764438198


def _plain(values):
    """Numbers of a list of Quantities and numbers, in OpenMM's unit system."""
    return [v.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(v) else v for v in values]


def _bonded(force, count, get, n_atoms, geometry, expression, names):
    rows = [_plain(get(i)) for i in range(count)]
    return body_term(
        geometry,
        [row[:n_atoms] for row in rows],
        expression,
        names,
        [row[n_atoms:] for row in rows],
        source=type(force).__name__,
    )


def _harmonic_bond(force, table):
    return [_bonded(force, force.getNumBonds(), force.getBondParameters, 2, "distance", "0.5*k*(r-r0)^2", ["r0", "k"])]


def _harmonic_angle(force, table):
    expression = "0.5*k*(theta-theta0)^2"
    return [_bonded(force, force.getNumAngles(), force.getAngleParameters, 3, "angle", expression, ["theta0", "k"])]


def _periodic_torsion(force, table):
    expression, names = "k*(1+cos(n*theta-phase))", ["n", "phase", "k"]
    return [_bonded(force, force.getNumTorsions(), force.getTorsionParameters, 4, "torsion", expression, names)]


def _rb_torsion(force, table):
    # Ryckaert–Bellemans angles are measured from cis: cos(θ − π) = −cos θ.
    expression = "c0+c*(c1+c*(c2+c*(c3+c*(c4+c*c5)))); c=-cos(theta)"
    names = [f"c{i}" for i in range(6)]
    return [_bonded(force, force.getNumTorsions(), force.getTorsionParameters, 4, "torsion", expression, names)]


def _map_coefficients(size, energy):
    """Bicubic patches (size, size, 4, 4) through a periodic map, with derivatives from periodic cubic splines."""
    from scipy.interpolate import CubicSpline

    def slope(values, axis):
        closed = np.concatenate([values, values.take([0], axis)], axis)
        return CubicSpline(np.arange(size + 1), closed, axis=axis, bc_type="periodic")(np.arange(size), 1)

    f = np.asarray(energy).reshape(size, size).T  # the first torsion runs fastest in OpenMM's list
    fx, fy = slope(f, 0), slope(f, 1)
    corners = [np.stack([g, np.roll(g, -1, 0)], 0) for g in (f, fx, fy, slope(fx, 1))]
    values, dx, dy, dxy = (np.stack([g, np.roll(g, -1, 2)], 1) for g in corners)  # each (2, 2, size, size)
    nodes = np.concatenate([np.concatenate([values, dy], 1), np.concatenate([dx, dxy], 1)], 0)
    hermite = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [-3, 3, -2, -1], [2, -2, 1, 1]], dtype=float)
    return np.einsum("ap,pqij,bq->ijab", hermite, nodes, hermite)


def _cmap(force, table):
    maps = []
    for i in range(force.getNumMaps()):
        size, energy = force.getMapParameters(i)
        maps.append(_map_coefficients(size, _plain([energy])[0]))
    rows = np.array([force.getTorsionParameters(i) for i in range(force.getNumTorsions())], dtype=np.int64)
    rows = rows.reshape(-1, 9)
    return [MapTerm(rows[:, 1:], rows[:, 0], tuple(maps))]


def _triangular_index(i, j, n):
    """Position of the pair {i, j} in np.triu_indices(n, 1)."""
    i, j = min(i, j), max(i, j)
    return i * (2 * n - i - 1) // 2 + j - i - 1


def _nonbonded(force, table):
    defaults = global_parameters(force)
    particles = np.array([_plain(force.getParticleParameters(i)) for i in range(force.getNumParticles())], dtype=float)
    particles = particles.reshape(-1, 3)
    for i in range(force.getNumParticleParameterOffsets()):
        name, particle, *scales = force.getParticleParameterOffset(i)
        particles[particle] += defaults[name] * np.array(scales)
    first, second = np.triu_indices(len(particles), 1)
    (q1, s1, e1), (q2, s2, e2) = particles[first].T, particles[second].T
    parameters = np.stack([q1 * q2, 0.5 * (s1 + s2), np.sqrt(e1 * e2)], 1)
    exceptions = [_plain(force.getExceptionParameters(i)) for i in range(force.getNumExceptions())]
    for i in range(force.getNumExceptionParameterOffsets()):
        name, exception, *scales = force.getExceptionParameterOffset(i)
        exceptions[exception][2:] = np.array(exceptions[exception][2:]) + defaults[name] * np.array(scales)
    for i, j, *values in exceptions:
        parameters[_triangular_index(i, j, len(particles))] = values
    interacting = (parameters[:, 0] != 0) | (parameters[:, 2] != 0)
    pairs, parameters = np.stack([first, second], 1)[interacting], parameters[interacting]
    parameters[:, 0] *= COULOMB_CONSTANT
    expression = "4*epsilon*s*(s-1)+qq/r; s=(sigma/r)^6"
    return [body_term("distance", pairs, expression, ["qq", "sigma", "epsilon"], parameters, source="NonbondedForce")]


def _gbsa_obc(force, table):
    offset = 0.009  # nm, subtracted from radii in all OBC models
    rows = [_plain(force.getParticleParameters(i)) for i in range(force.getNumParticles())]
    charges, radii, scales = np.array(rows).reshape(-1, 3).T
    parameters = {"q": charges, "or": radii - offset, "sr": scales * (radii - offset), "radius": radii}
    constants = {
        "tension": 4 * pi * _plain([force.getSurfaceAreaEnergy()])[0],
        "tau": COULOMB_CONSTANT * (1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric()),
    }
    # The last summand of I counts an atom that lies wholly inside its neighbour's sphere.
    values = [
        (
            "I",
            "pair",
            "select(step(r+sr2-or1), 0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/U^2-1/L^2)+0.5*log(L/U)/r)+inside, 0);"
            "inside=select(step(sr2-r-or1), 1/or1-1/L, 0); U=r+sr2; L=max(or1, abs(r-sr2))",
        ),
        ("B", "single", "1/(1/or-tanh(psi*(1+psi*(4.85*psi-0.8)))/radius); psi=I*or"),
    ]
    energies = [
        ("single", "-0.5*tau*q^2/B+tension*(radius+0.14)^2*(radius/B)^6"),
        ("pair", "-tau*q1*q2/sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))"),
    ]
    return [gb_term(values, energies, parameters, constants, source="GBSAOBCForce")]


#: Force class name → (check of supported settings, translator). A check returns why it is unsupported, or None.
STANDARD_TRANSLATORS = {
    "HarmonicBondForce": (None, _harmonic_bond),
    "HarmonicAngleForce": (None, _harmonic_angle),
    "PeriodicTorsionForce": (None, _periodic_torsion),
    "RBTorsionForce": (None, _rb_torsion),
    "CMAPTorsionForce": (None, _cmap),
    "NonbondedForce": (no_cutoff, _nonbonded),
    "GBSAOBCForce": (no_cutoff, _gbsa_obc),
}
