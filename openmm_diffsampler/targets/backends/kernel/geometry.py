"""Distances, angles and torsions of one block, and gradients on atoms from derivatives by them.

The formulas are those of :mod:`..torch_geometry`.
"""

from .functions import FUNCTIONS

__all__ = ["GEOMETRIES"]


def _cross(v, a, b):
    (ax, ay, az), (bx, by, bz) = a, b
    pairs = ((ay, bz, az, by), (az, bx, ax, bz), (ax, by, ay, bx))
    return [v.sub(v.mul(p, q), v.mul(r, s)) for p, q, r, s in pairs]


def _dot(v, a, b):
    return v.sum([v.mul(p, q) for p, q in zip(a, b, strict=True)])


def _sub(v, a, b):
    return [v.sub(p, q) for p, q in zip(a, b, strict=True)]


def _scaled(v, a, factor):
    return [v.mul(p, factor) for p in a]


def distance(v, first, second):
    """r and r², and gradients on both atoms from (∂E/∂r)/r."""
    edge = _sub(v, first, second)
    square = _dot(v, edge, edge)

    def gradient(slope):
        push = _scaled(v, edge, slope)
        return push, [v.neg(p) for p in push]

    return [v.intrinsic("sqrt", square), square], gradient


def angle(v, first, vertex, last):
    """θ, and gradients on three atoms from ∂E/∂θ."""
    a, b = _sub(v, first, vertex), _sub(v, last, vertex)
    cross = _cross(v, a, b)
    sine = v.intrinsic("sqrt", v.at_least(_dot(v, cross, cross), 1e-30))
    theta = FUNCTIONS["atan2"](v, sine, _dot(v, a, b))

    def gradient(slope):
        along = v.div(slope, v.at_least(sine, 1e-6))
        by_a = _scaled(v, _cross(v, a, cross), v.div(along, _dot(v, a, a)))
        by_b = _scaled(v, _cross(v, cross, b), v.div(along, _dot(v, b, b)))
        return by_a, [v.neg(v.add(p, q)) for p, q in zip(by_a, by_b, strict=True)], by_b

    return [theta], gradient


def torsion(v, x1, x2, x3, x4):
    """φ, and gradients on four atoms from ∂E/∂φ."""
    b1, b2, b3 = _sub(v, x2, x1), _sub(v, x3, x2), _sub(v, x4, x3)
    m, n = _cross(v, b1, b2), _cross(v, b2, b3)
    square = _dot(v, b2, b2)
    axis = v.intrinsic("sqrt", square)
    phi = FUNCTIONS["atan2"](v, v.mul(axis, _dot(v, b1, n)), _dot(v, m, n))

    def gradient(slope):
        along = v.mul(slope, axis)
        by_b1 = _scaled(v, m, v.div(along, _dot(v, m, m)))
        by_b3 = _scaled(v, n, v.div(along, _dot(v, n, n)))
        c1, c3 = v.div(_dot(v, b1, b2), square), v.div(_dot(v, b3, b2), square)
        by_b2 = [v.neg(v.add(v.mul(p, c1), v.mul(q, c3))) for p, q in zip(by_b1, by_b3, strict=True)]
        return [v.neg(p) for p in by_b1], _sub(v, by_b1, by_b2), _sub(v, by_b2, by_b3), by_b3

    return [phi], gradient


def position(v, x):
    """x, y, z, and the gradient on the atom from ∂E/∂x, ∂E/∂y, ∂E/∂z."""
    return list(x), lambda *slopes: (list(slopes),)


#: Name of a geometry → function of (vectors, coordinates of each atom) that returns its variables (a distance: with its
#: square) and the function from derivatives by them to gradients on the atoms.
GEOMETRIES = {"distance": distance, "angle": angle, "torsion": torsion, "position": position}
