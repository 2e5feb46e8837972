"""Internal coordinates of a molecule in which noise of one size suits everything: mean zero, unit covariance."""

import math

import torch

from openmm_diffsampler.targets.base import Target

from .internal_target import InternalTarget

__all__ = ["WhitenedTarget"]

#: Radians that a torsion which turns is counted in: about the width of its wells, and the same length for all turns.
_ROTOR_UNIT = 0.25


class WhitenedTarget(Target):
    r"""p(x) of an :class:`InternalTarget` over :math:`y = y_0 + A x`, with :math:`u(x) = u(y) - \log|A|`.

    Bonds, angles and stiff torsions are whitened: of mean zero and unit covariance. Torsions that turn are counted in
    0.25 radians from zero, and have :attr:`periods`. Z is that of the InternalTarget and the Cartesian one.

    Stiff torsions are real numbers here, though u(y) repeats with every turn. What is further than half a turn from y_0
    has u = +∞, so that one turn counts.

    Arguments:
        internal: the InternalTarget. Its positions are y_0, in its own units, until :meth:`whiten`.

    Attributes:
        internal: the InternalTarget.
        periods: (3N − 6,) one turn of the torsions that turn, infinite elsewhere; no width changes it.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.coordinates import InternalTarget
        >>> molecule = load_system("alanine-dipeptide")
        >>> internal = InternalTarget(molecule.target(), molecule.positions)
        >>> target = WhitenedTarget(internal)
        >>> x = target.from_internal(internal.from_cartesian(internal.positions[None]))
        >>> bool(x[:, target.periods.isinf()].abs().max() < 1e-9), round(float(target.periods.min() * 0.25 / 3.14159))
        (True, 2)
    """

    def __init__(self, internal):
        super().__init__(internal.event_shape, name=internal.name, dtype=internal.dtype, device=internal.device)
        self.is_normalisable = internal.is_normalisable
        self.internal = internal
        self.periods = torch.full(self.event_shape, torch.inf, dtype=self.dtype, device=self.device)
        self.periods[internal.turning] = 2 * math.pi / _ROTOR_UNIT
        self._set_stiff(internal.from_cartesian(internal.positions[None].to(self.device)), torch.eye)

    @property
    def n_evaluations(self):
        """Those of the Cartesian target, where energies are made."""
        return self.internal.cartesian.n_evaluations

    @n_evaluations.setter
    def n_evaluations(self, value):
        """The Cartesian target counts for itself."""

    @property
    def frames_of(self):
        return self.internal.frames_of

    def frames(self, x, u):
        """Positions (n, n_atoms, 3) in nm and E/kT."""
        return self.internal.frames(self.to_internal(x), u + self._log_volume)

    def identity(self):
        """As of the InternalTarget; origin and scale are mere units."""
        return self.internal.identity()

    def whiten(self, y):
        """Take mean and covariance of stiff coordinates from y (n, 3N − 6) of the InternalTarget."""
        self._set_stiff(y, lambda d: _square_root(self._near(y)[:, self.periods.isinf()].T.cov(correction=0), len(y)))

    def _set_stiff(self, y, root):
        stiff = self.periods.isinf()
        # The first row tells which turn of each stiff torsion counts; any would do.
        self.origin = torch.where(stiff, y[0], 0.0)
        self.origin = torch.where(stiff, self._near(y).mean(0), 0.0)
        scale = torch.diag(_ROTOR_UNIT / self.internal.widths)
        scale[stiff[:, None] & stiff] = root(int(stiff.sum())).to(scale).flatten()
        self._set_scale(scale)

    def _set_scale(self, scale):
        self.scale, self._inverse = scale, torch.linalg.inv(scale)
        self._log_volume = float(torch.linalg.slogdet(scale).logabsdet)

    @property
    def _turn(self):
        """(3N − 6,) one turn of the stiff torsions in units of y, infinite elsewhere."""
        turn = torch.full_like(self.origin, torch.inf)
        turn[self.internal.coordinates.torsions] = self.internal.turn
        return torch.where(self.periods.isinf(), turn, torch.inf)

    def _near(self, y):
        """y with stiff torsions within half a turn of the origin."""
        away, turn = y - self.origin, self._turn
        return torch.where(turn.isinf(), y, y - turn * torch.round(away / turn))

    def from_internal(self, y):
        """y of the InternalTarget → x, both (n, 3N − 6)."""
        return (self._near(y) - self.origin) @ self._inverse.T

    def to_internal(self, x):
        """x → y of the InternalTarget, both (n, 3N − 6)."""
        return self.origin + x @ self.scale.T

    def _evaluate_guarded(self, x):
        y = self.to_internal(x)
        u, score, valid = self.internal._evaluate_guarded(y)
        valid = valid & ((y - self.origin).abs() <= self._turn / 2).all(1)
        u = torch.where(valid, u - self._log_volume, torch.inf)
        return u, torch.where(valid[:, None], score @ self.scale, 0.0), valid

    def _evaluate(self, x):
        return self._evaluate_guarded(x)[:2]

    def _count_products(self, n):
        """Those of the InternalTarget count."""

    def _score_vjp(self, x, v):
        return self.internal._score_vjp(self.to_internal(x), v @ self.scale.T) @ self.scale

    def state_dict(self):
        """Origin, scale, and of the InternalTarget widths and what it keeps: all that x and u depend on."""
        kept = {name: getattr(self.internal, name) for name in ("widths", "positions", "chirality")}
        return {"origin": self.origin, "scale": self.scale} | kept

    def load_state_dict(self, state):
        """Take what :meth:`state_dict` gave; the InternalTarget becomes the one that it was."""
        cartesian = self.internal.cartesian
        options = {"widths": state["widths"], "chirality": state["chirality"], "isomers": self.internal.isomers}
        self.internal = InternalTarget(cartesian, state["positions"], **options)
        self.internal.hold_isomers()
        self.origin = state["origin"].to(self.device, self.dtype)
        self._set_scale(state["scale"].to(self.device, self.dtype))


def _square_root(covariance, n):
    """Its symmetric square root; the fewer configurations it was measured on, the more of it is taken as diagonal."""
    d = len(covariance)
    covariance = (n * covariance + d * torch.diag(covariance.diagonal())) / (n + d)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=1e-8).sqrt() @ vectors.T
