"""The two puckers of a saturated ring, learned from a hot run, and the affine map from one to the other."""

import math
from dataclasses import dataclass

import torch

from openmm_diffsampler.coordinates.graph import neighbours
from openmm_diffsampler.coordinates.handedness import signed_volumes
from openmm_diffsampler.coordinates.rings import ring_torsions

from .kernels import HamiltonianKernel
from .state import evaluate

__all__ = ["RingPuckers", "centred", "learn_ring_puckers", "turns"]

#: Chains of the run that learns, leapfrog steps of its trajectories, kT when hot over that of the target.
_N_CHAINS, _N_LEAPFROG, _HOT = 96, 6, 10.0
#: Trajectories: hot, to cool down, to settle in each pucker, to look at.
_N_HOT, _N_COOLING, _N_SETTLING, _N_SEEN = 120, 60, 30, 60
#: A pucker is where |p·sin τ| exceeds a share of its upper quantile, which chairs reach even among many boats: between
#: the puckers lie boats and planar rings.
_AMPLITUDE, _PUCKERED = 0.6, 0.9
#: Added to covariances, in units of thermal widths squared.
_RIDGE = 1e-3


@dataclass(frozen=True, eq=False)
class RingPuckers:
    r"""Puckers +1 and −1 of a ring and the map between them.

    With the ring's torsions τ, the pucker of a configuration is the sign of a = p·sin τ, or 0 where \|a\| is below a
    threshold. From pucker s, the stiff coordinates y of the ring and what is placed on it go to

    .. math:: y' = \mu_{-s} + T_s (y - \mu_s), \qquad T_{-} = T_{+}^{-1},

    where T is the linear map that takes the covariance of one pucker into that of the other by the shortest way.

    Attributes:
        ring: atom indices around the ring.
        direction, threshold: p and the smallest \|a\|.
        columns: of y that are mapped.
        means: pucker → (n_columns,).
        maps: pucker → (n_columns, n_columns).
        log_determinant: of T₊.
    """

    ring: tuple
    direction: torch.Tensor
    threshold: float
    columns: list
    means: dict
    maps: dict
    log_determinant: float

    def pucker(self, x):
        """(n, n_atoms, 3) → (n,) of +1, −1 and 0."""
        amplitude = ring_torsions(x, self.ring).sin() @ self.direction.to(x)
        return torch.where(amplitude.abs() > self.threshold, amplitude.sign(), 0.0).long()


def learn_ring_puckers(target, ring, positions, seed=0):
    """Find the puckers of a ring: chains are heated until they flip, cooled, sorted, and sampled in each pucker.

    About 150,000 evaluations.

    Arguments:
        target: an :class:`~openmm_diffsampler.coordinates.InternalTarget` with thermal widths.
        ring: atom indices around the ring.
        positions: (n, n_atoms, 3) tensor to start from.
        seed: of the run.

    Returns:
        :class:`RingPuckers`, or None where only one pucker was seen.
    """
    generator = torch.Generator(target.device).manual_seed(seed)
    start = target.from_cartesian(positions)[torch.arange(_N_CHAINS) % len(positions)]
    hot = _run(target, evaluate(target, start), _N_HOT, generator, 1 / _HOT)[-1]
    cold = _run(target, hot, _N_COOLING, generator)[-1]
    x = target.to_cartesian(cold.x)
    sines = ring_torsions(x, ring).sin()
    direction = torch.linalg.eigh(sines.T @ sines)[1][:, -1]
    direction = direction * direction[direction.abs().argmax()].sign()
    amplitude = sines @ direction
    threshold = _AMPLITUDE * float(amplitude.abs().quantile(_PUCKERED))
    # Heat that flips rings may also turn a centre inside out, which renames its hydrogens.
    hands = _hands(target.coordinates.topology, ring, torch.cat([positions[:1], x]))
    upright = (hands[1:] == hands[0]).all(1)
    columns = _columns(target.coordinates, ring)
    turn = turns(target, columns)
    means, covariances = {}, {}
    for s in (1, -1):
        inside = cold.rows((s * amplitude > threshold) & upright)
        if not len(inside):
            return None
        inside = inside.rows(torch.arange(_N_CHAINS // 2) % len(inside))
        settled = _run(target, inside, _N_SETTLING, generator)[-1]
        y = torch.cat([state.x for state in _run(target, settled, _N_SEEN, generator)])
        y = y[s * (ring_torsions(target.to_cartesian(y), ring).sin() @ direction) > threshold][:, columns]
        if len(y) < 2 * len(columns):
            return None
        means[s] = y[0] + centred(y - y[0], turn).mean(0)
        difference = centred(y - means[s], turn)
        means[s] = means[s] + difference.mean(0)
        covariances[s] = difference.T.cov() + _RIDGE * torch.eye(len(columns)).to(y)
    root, inverse = _power(covariances[1], 0.5), _power(covariances[1], -0.5)
    forward = inverse @ _power(root @ covariances[-1] @ root, 0.5) @ inverse
    maps = {1: forward, -1: torch.linalg.inv(forward)}
    log_determinant = float(torch.linalg.slogdet(forward).logabsdet)
    return RingPuckers(tuple(ring), direction, threshold, columns, means, maps, log_determinant)


def _run(target, state, n, generator, beta=1.0):
    """States after each of n trajectories at inverse temperature β."""
    kernel, seen = HamiltonianKernel(0.4 * beta**-0.5, _N_LEAPFROG), []
    for _ in range(n):
        state = kernel(target, state, generator, adapt=True, inverse_temperature=beta)
        seen.append(state)
    return seen


def turns(target, columns):
    """One turn of each of the columns in units of y, infinite where it is no torsion."""
    columns = torch.as_tensor(columns, device=target.widths.device)
    is_torsion = columns >= target.coordinates.torsions.start
    return torch.where(is_torsion, 2 * math.pi / target.widths[columns], torch.inf)


def centred(difference, turn):
    """Differences of coordinates, within half a turn either way for torsions (`turn` is infinite elsewhere)."""
    return torch.where(turn.isinf(), difference, difference - turn * (difference / turn).round())


def _hands(topology, ring, x):
    """Signs of the volumes that three neighbours span, at the saturated atoms of the ring: (n, n_saturated)."""
    bonded = neighbours(topology)
    centres = torch.tensor([[a, *sorted(bonded[a])[:3]] for a in ring if len(bonded[a]) >= 4])
    return signed_volumes(x, centres).sign()


def _power(matrix, power):
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=1e-12) ** power) @ vectors.T


def _columns(coordinates, ring):
    """Columns of the stiff coordinates that place an atom of the ring, or one on it."""
    bonded = neighbours(coordinates.topology)
    near = set(ring).union(*(bonded[a] for a in ring))
    order, centre = coordinates.z_matrix.order.tolist(), coordinates.z_matrix.centre.tolist()
    found = []
    for k, (i, j) in enumerate(zip(order, centre, strict=True)):
        if k and i in near and j in near:
            starts = ((1, 0), (2, coordinates.angles.start), (3, coordinates.torsions.start))
            found += [start + k - first for first, start in starts if k >= first]
    return [column for column in sorted(found) if column not in coordinates.rotatable_torsions]
