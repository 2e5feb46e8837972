"""The wells of a torsion, found from its marginal density: maxima, and the minima between them."""

from dataclasses import dataclass

import numpy as np

__all__ = ["TorsionWells", "find_wells", "periodic_density"]

#: Degrees; of the order of thermal librations, so that wells stay apart and noise is smoothed.
_WIDTH = 7.0

#: kT; lower barriers are shoulders of one well.
_BARRIER = 0.5

#: Standard errors by which a maximum must stand out from the minimum beside it.
_SIGNIFICANCE = 4.0

#: What maxima are called, by their distance from 0° (IUPAC's ±30° around each).
_RANGES = ((0, 30, "cis"), (30, 90, "gauche"), (150, 180, "trans"))


@dataclass(frozen=True)
class TorsionWells:
    """Wells of one torsion, in the order of their maxima from −150° around to trans.

    Attributes:
        centres: (n_wells,) degrees, where the density is highest.
        boundaries: degrees in [−180, 180), ascending; as many as wells, or none for a single well.
        names: one a well, such as ``"gauche+ (62°)"`` or, for backbone torsions, ``"-75°"``.
    """

    centres: tuple
    boundaries: tuple
    names: tuple

    def __len__(self):
        return len(self.centres)

    def assign(self, angles):
        """Which well each angle is in: (n,) integers, for angles (n,) in degrees in [−180, 180).

        Example:
            >>> TorsionWells((-60.0, 60.0, 180.0), (-120.0, 0.0, 120.0), ("g-", "g+", "t")).assign([-70, 50, 170, -175])
            array([0, 1, 2, 2])
        """
        first = np.searchsorted(self.boundaries, self.centres[0]) if self.boundaries else 0
        return (np.searchsorted(self.boundaries, np.asarray(angles), side="right") - first) % len(self)

    def limits(self, well):
        """(from, to) of a well in degrees; from > to passes ±180, and a single well is all from −180 to 180.

        Example:
            >>> TorsionWells((0.0, 180.0), (-90.0, 90.0), ("cis", "trans")).limits(1)
            (90.0, -90.0)
        """
        if not self.boundaries:
            return -180.0, 180.0
        first = np.searchsorted(self.boundaries, self.centres[0])
        return tuple(self.boundaries[(first + well + i) % len(self)] for i in (-1, 0))


def periodic_density(angles, weights=None, width=_WIDTH, group=None):
    r"""Density of angles on a grid of one degree, smoothed by a Gaussian wrapped around the circle.

    .. math:: p(\theta) = \sum_i w_i \sum_k \mathcal N(\theta - \theta_i + 360 k;\ 0,\ \sigma^2)

    Arguments:
        angles: (n,) in degrees.
        weights: (n,) that sum to one; by default 1/n each.
        width: σ in degrees.
        group: (n,) integers from 0, such as chains, for a density of each.

    Returns:
        (360,) per degree, at −179.5, −178.5, ..., 179.5; or (n_groups, 360).

    Example:
        >>> density = periodic_density([-180.0, 179.0, 179.9], width=5.0)
        >>> round(float(density.sum()), 6), float(density[0].round(3)), float(density[180].round(3))
        (1.0, 0.079, 0.0)
    """
    cells = np.floor(np.asarray(angles) + 180).astype(int) % 360
    n_groups = 1 if group is None else group.max() + 1
    cells = cells if group is None else cells + 360 * group
    histogram = np.bincount(cells, weights=weights, minlength=360 * n_groups).reshape(n_groups, 360)
    histogram = histogram / histogram.sum(1, keepdims=True)
    kernel = np.exp(-2 * (np.pi * np.arange(181) * width / 360) ** 2)
    density = np.maximum(np.fft.irfft(np.fft.rfft(histogram) * kernel, n=360), 0)
    return density[0] if group is None else density


def find_wells(angles, weights=None, n_frames=None, named=True):
    r"""Wells of a torsion: maxima of the smoothed density, divided at the minima between them.

    Two neighbouring maxima belong to one well where the barrier on the side of the lower one, ln(p_max/p_min), is below
    0.5 kT, or where the lower one is no more than noise: 2(√n_max − √n_min) < 4 with n the number of frames under the
    kernel. The divide with the least barrier goes first. Wells that no frame visits are not found.

    Arguments:
        angles: (n,) in degrees in [−180, 180).
        weights: (n,) that sum to one; by default 1/n each.
        n_frames: how many frames the density counts as, for the noise; by default n.
        named: call wells cis, gauche+, gauche- and trans where they are within 30° of 0°, ±60° and 180°.

    Returns:
        TorsionWells.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> angles = (rng.choice([180, 60, -60], 3000, p=[0.6, 0.3, 0.1]) + rng.normal(0, 10, 3000) + 180) % 360 - 180
        >>> wells = find_wells(angles)
        >>> [name.split()[0] for name in wells.names], bool(np.allclose(wells.boundaries, [-120, 0, 120], atol=10))
        (['gauche-', 'gauche+', 'trans'], True)
    """
    density = periodic_density(angles, weights)
    # Variance of the smoothed density is p/(2√π σ n), so this is the number of frames that it rests on.
    frames = density * 2 * np.sqrt(np.pi) * _WIDTH * (len(angles) if n_frames is None else n_frames)
    # Rounding in gaps without frames makes no maxima.
    frames[frames < 0.1] = 0.0
    maxima = np.flatnonzero((frames > np.roll(frames, 1)) & (frames >= np.roll(frames, -1)))
    if len(maxima) == 0:
        maxima = frames.argmax(keepdims=True)
    minima = [_lowest_between(frames, a, b) for a, b in zip(maxima, np.roll(maxima, -1), strict=True)]
    maxima = list(maxima)
    while len(maxima) > 1:
        # Divide i is between maximum i and the next one.
        lower = np.minimum(frames[maxima], frames[np.roll(maxima, -1)])
        divide = frames[minima]
        barrier = np.log(lower / np.maximum(divide, 1e-3))
        weak = (barrier < _BARRIER) | (2 * (np.sqrt(lower) - np.sqrt(divide)) < _SIGNIFICANCE)
        if not weak.any():
            break
        i = int(np.argmin(np.where(weak, barrier, np.inf)))
        j = (i + 1) % len(maxima)
        maxima.pop(i if frames[maxima[i]] < frames[maxima[j]] else j)
        minima.pop(i)
    # From −150° on, so that trans comes last whichever side of 180° its maximum is.
    centres = tuple(sorted((float(i - 179.5) for i in maxima), key=lambda angle: (angle + 150) % 360))
    boundaries = tuple(sorted(float(i - 179.5) for i in minima)) if len(maxima) > 1 else ()
    return TorsionWells(centres, boundaries, tuple(_name(c, named) for c in centres))


def _lowest_between(frames, a, b):
    """Grid point of the minimum from a to b around the circle; the middle of a flat one."""
    path = np.arange(a, b + (360 if b <= a else 0) + 1) % 360
    lowest = np.flatnonzero(frames[path] <= frames[path].min())
    return int(path[lowest[len(lowest) // 2]])


def _name(centre, named):
    angle = f"{centre:.0f}°"
    for low, high, word in _RANGES if named else ():
        if low <= abs(centre) <= high:
            sign = ("+" if centre > 0 else "-") if word == "gauche" else ""
            return f"{word}{sign} ({angle})"
    return angle
