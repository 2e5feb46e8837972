"""The density of a molecule over its internal coordinates, as a target of its own."""

import math

import torch

from openmm_diffsampler.targets.base import Target
from openmm_diffsampler.targets.positions import lengths_in_nm

from .errors import NoInternalCoordinatesError
from .handedness import Handedness
from .held_bonds import held_bonds, listed_bonds
from .internal import InternalCoordinates

__all__ = ["CHIRALITY", "ISOMERS", "InternalTarget"]

CHIRALITY = ("keep", "free")
ISOMERS = ("keep", "free")


class InternalTarget(Target):
    r"""p(y) of a molecule over internal coordinates in units of their thermal widths, z = D^{1/2} y:

    .. math:: u(y) = E(x(z))/kT - \log J(z) - \tfrac12 \log|D|,

    such that ∫exp(−u)dy, over bonds, angles and one turn of each torsion, is the Z of the Cartesian target. Torsions
    may take any real value (*lifted* torsions): u is periodic in them, so that Gaussian noise and tethers need no
    wrapping and stay exact.

    A configuration with a stereocentre on the other hand, or a held bond turned over (:meth:`hold`), has u = +∞
    and counts in :attr:`n_inverted`. Bonds and angles out of range have u = +∞ too.

    Arguments:
        target: the Cartesian target, with a topology, whose energy ignores translation and rotation.
        positions: (n_atoms, 3) or (n, n_atoms, 3), nm: the handedness to keep and where invariance is checked.
        widths: (3N − 6,) D^{1/2} in nm and radians; by default 0.003 nm, 0.07 and (torsions) 0.3.
        chirality: ``"keep"`` or ``"free"``, of stereocentres.
        isomers: what :meth:`hold_isomers` holds: ``"keep"``: double bonds and locked axes
            (:func:`~openmm_diffsampler.coordinates.held_bonds.held_bonds`); ``"free"``: nothing; or a list of bonds,
            pairs of atom indices: these and no others. By default as `chirality`.

    Attributes:
        held: columns of the torsions that are held.
        held_bonds: list of :class:`~openmm_diffsampler.coordinates.held_bonds.HeldBond`, what they are and why.

    Raises:
        TypeError, ValueError: a target without topology, widths that are not positive, unknown chirality.
        NoInternalCoordinatesError: no bonds, an energy that depends on where the molecule is or how it is turned, atoms
            in a line.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> target = InternalTarget(molecule.target(), molecule.positions)
        >>> y = target.from_cartesian(torch.as_tensor(molecule.positions._value)[None])
        >>> u, score = target.reduced_potential_and_score(y)
        >>> score.shape, target.to_cartesian(y).shape
        (torch.Size([1, 60]), torch.Size([1, 22, 3]))
    """

    def __init__(self, target, positions, *, widths=None, chirality="keep", isomers=None):
        if target.topology is None:
            raise TypeError(f"{target.name} has no topology, which internal coordinates are made from")
        if chirality not in CHIRALITY:
            raise ValueError(f"chirality is {chirality!r}; supported are {', '.join(map(repr, CHIRALITY))}")
        isomers = chirality if isomers is None else isomers
        if isinstance(isomers, str) and isomers not in ISOMERS:
            raise ValueError(f"isomers is {isomers!r}; give 'keep', 'free' or a list of bonds, pairs of atoms")
        self.isomers = isomers if isinstance(isomers, str) else [tuple(pair) for pair in isomers]
        self.cartesian, self.coordinates = target, InternalCoordinates(target.topology)
        super().__init__((len(self.coordinates),), name=target.name, dtype=target.dtype, device=target.device)
        self.is_normalisable = target.is_normalisable
        x = torch.as_tensor(lengths_in_nm(positions), dtype=target.dtype, device="cpu").reshape(-1, *target.event_shape)
        self._require_invariant(x)
        self.chirality = chirality
        self.positions = self.coordinates.bent(x)[0]
        self.handedness = Handedness(target.topology, x[0])
        self.n_inverted = 0
        self.held_bonds, self.held, self._held_at = [], [], torch.empty(0, dtype=target.dtype)
        self.set_widths(_typical_widths(self.coordinates) if widths is None else widths)

    def _require_invariant(self, x):
        """Energies may not notice where the molecule is and how it is turned."""
        turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=x.dtype))[0]
        turned = turned * torch.linalg.det(turned)
        x = x[:1]
        before, after = self.cartesian.reduced_potential(torch.cat([x, x @ turned.T + 0.1]).to(self.device)).tolist()
        rounding = 1e-9 if self.dtype == torch.float64 else 1e-4
        if not abs(before - after) < 1e-4 + rounding * abs(before):
            raise NoInternalCoordinatesError(
                f"the energy of {self.name} changes from {before:.6g} to {after:.6g} kT when the molecule is moved and "
                "turned; internal coordinates leave out where it is, so sample it in Cartesian coordinates"
            )

    def set_widths(self, widths):
        """Take other units of y: (3N − 6,) positive numbers."""
        widths = torch.as_tensor(widths, dtype=self.dtype, device=self.device)
        if widths.shape != self.event_shape or not (widths > 0).all():
            raise ValueError(f"widths have shape {tuple(widths.shape)}; give {self.event_shape[0]} positive numbers")
        self.widths = widths
        self._log_widths = float(widths.log().sum())

    def hold(self, columns, positions):
        """Keep these torsions in the half turn around what they are in `positions` (n_atoms, 3), as E/Z isomers are."""
        self.held = list(columns)
        self._held_at = self.coordinates.to_internal(positions[None])[0, self.held]

    def hold_isomers(self):
        """Hold what `isomers` says. Axes are held between their planar shapes, other bonds around where they start."""
        if self.isomers == "free":
            return
        if self.isomers == "keep":
            bonds = held_bonds(self.cartesian, self.coordinates, self.positions)
        else:
            bonds = listed_bonds(self.coordinates, self.isomers)
        self.held_bonds = bonds
        self.hold([bond.column for bond in bonds], self.positions)
        axes = torch.tensor([bond.is_axis for bond in bonds], dtype=torch.bool)
        quarter = torch.where(self._held_at.sin() < 0, -math.pi / 2, math.pi / 2).to(self._held_at)
        self._held_at = torch.where(axes.to(quarter.device), quarter, self._held_at)

    @property
    def turning(self):
        """Columns of the rotatable torsions that are not held."""
        return [k for k in self.coordinates.rotatable_torsions if k not in self.held]

    @property
    def periods(self):
        """(3N − 6,) one turn, in units of y, of the torsions that turn; infinite elsewhere.

        Stiff torsions have none: they are real numbers, of which one turn counts in Z. u repeats beyond it; what
        may get there leaves that out, as
        :class:`~openmm_diffsampler.coordinates.whitened_target.WhitenedTarget` does.
        """
        periods = torch.full_like(self.widths, torch.inf)
        periods[self.turning] = 2 * math.pi / self.widths[self.turning]
        return periods

    @property
    def frames_of(self):
        return self.cartesian

    def frames(self, y, u):
        """Positions (n, n_atoms, 3) in nm and E/kT, without the volume element: y (n, 3N − 6), u (n,)."""
        return self.to_cartesian(y), torch.where(u < torch.inf, u + self.log_volume(y), torch.inf)

    def is_kept(self, x, z):
        """(n,) bool: whether stereocentres and held torsions of positions x with internal coordinates z are kept."""
        held = ((z[:, self.held] - self._held_at.to(z)).cos() > 0).all(1)
        return self.handedness.is_kept(x) & held if self.chirality == "keep" else held

    @property
    def turn(self):
        """(n_torsions,) one turn of each torsion in units of y."""
        return 2 * math.pi / self.widths[self.coordinates.torsions]

    def wrap(self, y):
        """The same configurations with torsions in [−π, π]."""
        torsions = self.coordinates.torsions
        return torch.cat(
            [y[:, : torsions.start], torch.remainder(y[:, torsions] + self.turn / 2, self.turn) - self.turn / 2], 1
        )

    def _parameters(self):
        return {"chirality": self.chirality, "held": self.held}

    def identity(self):
        """As of the Cartesian target, with chirality; widths are mere units."""
        return self.cartesian.identity() | {"event shape": list(self.event_shape)} | self._parameters()

    def from_cartesian(self, x):
        """Positions (n, n_atoms, 3) in nm → y (n, 3N − 6)."""
        return self.coordinates.to_internal(x.to(self.dtype)) / self.widths

    def to_cartesian(self, y):
        """y (n, 3N − 6) → positions (n, n_atoms, 3) in nm with the centroid at zero. Differentiable once."""
        return self.cartesian.project(self.coordinates.to_cartesian(y * self.widths))

    def log_volume(self, y):
        """log(J·|D|^{1/2}), which u(y) is lower by than E/kT: (n, 3N − 6) → (n,)."""
        return self.coordinates.log_jacobian(y * self.widths) + self._log_widths

    def _evaluate_guarded(self, y):
        c = self.coordinates
        self._count(len(y))
        z = y * self.widths
        x = c.place(z).to(self.device)
        u, force, valid = self.cartesian._evaluate_guarded(x)
        log_volume, volume_score = (t.to(self.device) for t in c.volume(z))
        u = u - log_volume - self._log_widths
        valid = valid & (u < torch.inf)
        if self.held or (self.chirality == "keep" and len(self.handedness)):
            kept = self.is_kept(x, z)
            self.n_inverted += int((valid & ~kept).sum())
            valid = valid & kept
        score = (c.pull_back(x, force).to(self.device) + volume_score) * self.widths
        if not valid.all():
            u = torch.where(valid, u, torch.inf)
            score = torch.where(valid[:, None], score, 0.0)
        return u, score, valid

    def _evaluate(self, y):
        return self._evaluate_guarded(y)[:2]

    def _count_products(self, n):
        """Differences of scores count for themselves."""

    def _score_vjp(self, y, v):
        """vᵀ∂s/∂y by central differences of scores; relative error about 1e-8 in double precision."""
        step = 1e-4 if self.dtype == torch.float64 else 1e-2
        scale = step / v.norm(dim=1, keepdim=True).clamp(min=1e-30)
        ahead, behind = (self._evaluate_guarded(y + sign * scale * v)[1] for sign in (1, -1))
        return (ahead - behind) / (2 * scale)


def _typical_widths(coordinates):
    widths = torch.full((len(coordinates),), 0.3, dtype=torch.float64)
    widths[coordinates.bonds], widths[coordinates.angles] = 0.003, 0.07
    return widths
