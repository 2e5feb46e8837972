"""Atoms placed from internal coordinates, and derivatives carried back, one configuration at a time in compiled code.

A row of internal coordinates holds N − 1 bonds, N − 2 angles and N − 3 torsions, in the order of the atoms placed.
"""

import math

import numba
import numpy as np

__all__ = ["place", "pull_back", "volume"]

# Anew in each process, in about a second. On disk numba keeps machine code and pickles without a checksum, in folders
# that others may write to, and where it finds no folder it gives up.
_compiled = numba.njit(nogil=True, error_model="numpy", fastmath={"nsz", "contract"})


@_compiled
def place(z, order, centre, axis, reference, x):
    """Positions x (n, N, 3): the first atom at the origin, the second on the x axis, the third in the xy plane."""
    n, n_atoms = len(z), len(order)
    for row in range(n):
        for k in range(n_atoms):
            i = order[k]
            if k < 2:
                x[row, i, 0] = z[row, 0] if k else 0.0
                x[row, i, 1] = 0.0
                x[row, i, 2] = 0.0
                continue
            j, a = centre[k], axis[k]
            r, angle = z[row, k - 1], z[row, n_atoms - 1 + k - 2]
            ex, ey, ez = x[row, a, 0] - x[row, j, 0], x[row, a, 1] - x[row, j, 1], x[row, a, 2] - x[row, j, 2]
            scale = 1 / math.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * scale, ey * scale, ez * scale
            along, across, beside = r * math.cos(angle), r * math.sin(angle), r * 0
            if k == 2:
                px, py, pz = ex * 0, ex * 0 + 1, ex * 0
                qx, qy, qz = px, px, px
            else:
                tail, head = reference[k, 0], reference[k, 1]
                torsion = z[row, 2 * n_atoms - 3 + k - 3]
                px = x[row, head, 0] - x[row, tail, 0]
                py = x[row, head, 1] - x[row, tail, 1]
                pz = x[row, head, 2] - x[row, tail, 2]
                dot = px * ex + py * ey + pz * ez
                px, py, pz = px - dot * ex, py - dot * ey, pz - dot * ez
                scale = 1 / math.sqrt(px * px + py * py + pz * pz)
                px, py, pz = px * scale, py * scale, pz * scale
                qx, qy, qz = ey * pz - ez * py, ez * px - ex * pz, ex * py - ey * px
                beside = across * math.sin(torsion)
                across = across * math.cos(torsion)
            x[row, i, 0] = x[row, j, 0] + along * ex + across * px - beside * qx
            x[row, i, 1] = x[row, j, 1] + along * ey + across * py - beside * qy
            x[row, i, 2] = x[row, j, 2] + along * ez + across * pz - beside * qz


@_compiled
def pull_back(x, g, order, centre, axis, reference, is_main, out):
    r"""Derivatives `out` with respect to internal coordinates, of what has derivatives `g` with respect to `x`.

    A coordinate moves what lies beyond it as a rigid body: a bond shifts it along the bond, an angle turns it about the
    normal of the angle's plane, a torsion about the axis. So all that is needed are the sums F = Σg and T = Σx×g over
    the atoms beyond, gathered from the outside in.
    """
    n, n_atoms = len(x), len(order)
    force = np.empty((n_atoms, 6), x.dtype)  # F and T of an atom and all beyond it
    carried = np.empty((n_atoms, 6), x.dtype)  # the same, of all that is placed on it
    for row in range(n):
        for i in range(n_atoms):
            for c in range(6):
                carried[i, c] = 0.0
        for k in range(n_atoms - 1, 0, -1):
            i, j = order[k], centre[k]
            x0, x1, x2 = x[row, i, 0], x[row, i, 1], x[row, i, 2]
            g0, g1, g2 = g[row, i, 0], g[row, i, 1], g[row, i, 2]
            force[i, 0] = g0 + carried[i, 0]
            force[i, 1] = g1 + carried[i, 1]
            force[i, 2] = g2 + carried[i, 2]
            force[i, 3] = x1 * g2 - x2 * g1 + carried[i, 3]
            force[i, 4] = x2 * g0 - x0 * g2 + carried[i, 4]
            force[i, 5] = x0 * g1 - x1 * g0 + carried[i, 5]
            if k > 1:  # the second atom is no part of what turns about the root
                for c in range(6):
                    carried[j, c] += force[i, c]
            j0, j1, j2 = x[row, j, 0], x[row, j, 1], x[row, j, 2]
            u0, u1, u2 = x0 - j0, x1 - j1, x2 - j2
            scale = 1 / math.sqrt(u0 * u0 + u1 * u1 + u2 * u2)
            u0, u1, u2 = u0 * scale, u1 * scale, u2 * scale
            f0, f1, f2 = force[i, 0], force[i, 1], force[i, 2]
            out[row, k - 1] = u0 * f0 + u1 * f1 + u2 * f2
            if k == 1:
                continue
            a = axis[k]
            e0, e1, e2 = x[row, a, 0] - j0, x[row, a, 1] - j1, x[row, a, 2] - j2
            scale = 1 / math.sqrt(e0 * e0 + e1 * e1 + e2 * e2)
            e0, e1, e2 = e0 * scale, e1 * scale, e2 * scale
            n0, n1, n2 = e1 * u2 - e2 * u1, e2 * u0 - e0 * u2, e0 * u1 - e1 * u0
            scale = 1 / math.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
            t0 = force[i, 3] - (j1 * f2 - j2 * f1)
            t1 = force[i, 4] - (j2 * f0 - j0 * f2)
            t2 = force[i, 5] - (j0 * f1 - j1 * f0)
            out[row, n_atoms - 1 + k - 2] = scale * (n0 * t0 + n1 * t1 + n2 * t2)
            if k == 2:
                continue
            if is_main[k]:
                f0, f1, f2 = carried[j, 0], carried[j, 1], carried[j, 2]
                t0 = carried[j, 3] - (j1 * f2 - j2 * f1)
                t1 = carried[j, 4] - (j2 * f0 - j0 * f2)
                t2 = carried[j, 5] - (j0 * f1 - j1 * f0)
            out[row, 2 * n_atoms - 3 + k - 3] = -(e0 * t0 + e1 * t1 + e2 * t2)


@_compiled
def volume(z, n_atoms, log_volume, score):
    """log r₁² Π r_k² sin θ_k of each row, −∞ out of range, and its derivatives, zero for torsions."""
    for row in range(len(z)):
        total, inside = 0.0, True
        for k in range(z.shape[1]):
            value = z[row, k]
            if k < n_atoms - 1:
                inside = inside and value > 0
                total += 2 * math.log(value) if value > 0 else 0.0
                score[row, k] = 2 / value if value > 0 else 0.0
            elif k < 2 * n_atoms - 3:
                inside = inside and 0 < value < math.pi
                sine = math.sin(value)
                total += math.log(sine) if sine > 0 else 0.0
                score[row, k] = math.cos(value) / sine if sine > 0 else 0.0
            else:
                score[row, k] = 0.0
        log_volume[row] = total if inside else -np.inf
