"""Bond lengths, angles and torsions of a molecule, and back to positions, with the log-Jacobian."""

import math
from functools import cached_property

import numpy as np
import torch

from openmm_diffsampler.targets.backends.threads import in_chunks

from .errors import NoInternalCoordinatesError
from .placement import place, pull_back, volume
from .z_matrix import ZMatrix

__all__ = ["InternalCoordinates"]

#: Sines of angles below this leave a torsion undefined.
_LINEAR = 1e-3
#: Times that atoms in a line are moved, until no three of any chain are.
_MOST_BENDS = 20


class InternalCoordinates:
    r"""The change of variables x ↔ z between positions and bonds r, angles θ and torsions τ of a :class:`ZMatrix`.

    z holds N − 1 bonds in nm, N − 2 angles and N − 3 torsions in radians, 3N − 6 numbers; where the molecule is and how
    it is turned is left out. For a function f of z alone

    .. math:: \int f(z(x))\,\mathrm dx = \int f(z)\, J(z)\,\mathrm dz\,, \qquad
        J = 8\pi^2 N^{-3/2}\, r_1^2 \prod_{k \ge 2} r_k^2 \sin\theta_k\,,

    where x runs over the configurations with their centroid at zero (4π instead of 8π² for two atoms), which is how
    :class:`~openmm_diffsampler.targets.Target` counts.

    Positions come from compiled code on the CPU; its derivative is a sum over rigid bodies (Abe et al., 1984), of the
    same cost.

    Arguments:
        topology: an mdtraj or openmm.app Topology with bonds.

    Raises:
        NoInternalCoordinatesError: fewer than two atoms, or no bonds.

    References:
        Abe, Braun, Noguti & Gō, Comput. Chem. 8, 239 (1984); Parsons et al., J. Comput. Chem. 26, 1063 (2005).

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> coordinates = InternalCoordinates(molecule.mdtraj_topology)
        >>> x = molecule.target().project(torch.as_tensor(molecule.positions._value)[None])
        >>> z = coordinates.to_internal(x)
        >>> y = coordinates.to_cartesian(z)
        >>> z.shape, bool((torch.cdist(y, y) - torch.cdist(x, x)).abs().max() < 1e-9)
        (torch.Size([1, 60]), True)
    """

    def __init__(self, topology):
        if not hasattr(topology, "n_bonds"):
            import mdtraj

            topology = mdtraj.Topology.from_openmm(topology)
        self.topology = topology
        self.z_matrix = ZMatrix.from_topology(topology)
        self.n_atoms = topology.n_atoms
        self._tree = [self.z_matrix.order, self.z_matrix.centre, self.z_matrix.axis, self.z_matrix.reference]

    def __len__(self):
        return max(1, 3 * self.n_atoms - 6)

    @property
    def bonds(self):
        """The columns of z that are bonds."""
        return slice(0, self.n_atoms - 1)

    @property
    def angles(self):
        """The columns that are angles."""
        return slice(self.n_atoms - 1, 2 * self.n_atoms - 3)

    @property
    def torsions(self):
        """The columns that are torsions."""
        return slice(max(1, 2 * self.n_atoms - 3), len(self))

    @cached_property
    def rotatable_torsions(self):
        """dict of column → four atoms, of the soft torsions: those about bonds that are in no ring, one a bond."""
        rows = np.flatnonzero(self.z_matrix.rotatable)
        return {self.torsions.start + int(k): tuple(self.z_matrix.torsions[k].tolist()) for k in rows}

    def column_names(self):
        """What each column of z is, with atom indices, such as "torsion 10-8-6-4"."""
        order, centre, axis = (a.tolist() for a in self._tree[:3])
        named = [f"bond {i}-{j}" for i, j in list(zip(order, centre, strict=True))[1:]]
        named += [f"angle {i}-{j}-{a}" for i, j, a in list(zip(order, centre, axis, strict=True))[2:]]
        for main, atoms in zip(self.z_matrix.is_main[3:], self.z_matrix.torsions.tolist(), strict=True):
            named.append(("torsion " if main else "improper ") + "-".join(map(str, atoms)))
        return named

    def to_internal(self, x):
        """Positions (n, n_atoms, 3) in nm → z (n, 3N − 6), torsions in (−π, π]. Differentiable.

        Raises:
            NoInternalCoordinatesError: three atoms in a line, which leaves the torsion about them undefined.
        """
        order, centre, axis, reference = (torch.as_tensor(a, device=x.device) for a in self._tree)
        arm = x[:, order[1:]] - x[:, centre[1:]]
        bond = arm.norm(dim=-1)
        if self.n_atoms == 2:
            return bond
        arm = arm[:, 1:]
        along = torch.nn.functional.normalize(x[:, axis[2:]] - x[:, centre[2:]], dim=-1)
        across = torch.linalg.cross(along, arm)
        angle = torch.atan2(across.norm(dim=-1), (along * arm).sum(-1))
        self._require_bent(angle)
        towards = x[:, reference[3:, 1]] - x[:, reference[3:, 0]]
        along, arm, across = along[:, 1:], arm[:, 1:], across[:, 1:]
        zero = towards - (towards * along).sum(-1, keepdim=True) * along
        torsion = torch.atan2((across * zero).sum(-1), (arm * zero).sum(-1))
        return torch.cat([bond, angle, torsion], 1)

    def bent(self, x):
        """Positions (n, n_atoms, 3), moved by 2 pm at random where three atoms lie in a line, to start chains from."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(_MOST_BENDS):  # of many chains one may be straight still
            try:
                self.to_internal(x)
            except NoInternalCoordinatesError:
                x = x + 0.002 * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
            else:
                break
        return x

    def _require_bent(self, angle):
        straight = (angle.sin() < _LINEAR).any(0)
        if straight.any():
            k = int(straight.nonzero()[0]) + 2
            atoms = [int(a[k]) for a in self._tree[:3]]
            raise NoInternalCoordinatesError(
                f"atoms {atoms[0]}–{atoms[1]}–{atoms[2]} lie in a line, where torsions are undefined; bend them"
            )

    def to_cartesian(self, z):
        """z (n, 3N − 6) → positions (n, n_atoms, 3), the first atom placed at the origin. Differentiable once."""
        return _Placement.apply(z, self)

    def log_jacobian(self, z):
        """log J (n,) of the formula above, −∞ where a bond is not positive or an angle not between 0 and π."""
        bond, angle = z[:, self.bonds], z[:, self.angles]
        inside = (bond > 0).all(1) & ((angle > 0) & (angle < math.pi)).all(1)
        bond, angle = bond.clamp(min=1e-30), torch.where(inside[:, None], angle, 1.0)
        value = self._log_constant + 2 * bond.log().sum(1) + angle.sin().log().sum(1)
        return torch.where(inside, value, -torch.inf)

    @property
    def _log_constant(self):
        n = self.n_atoms
        return math.log(4 * math.pi if n == 2 else 8 * math.pi**2) - 1.5 * math.log(n)

    def volume(self, z):
        """log J (n,) and its derivatives (n, 3N − 6), in compiled code."""
        z = z.detach().cpu().contiguous()
        log_volume, score = z.new_empty(len(z)), torch.empty_like(z)
        in_chunks(
            lambda rows: volume(z[rows].numpy(), self.n_atoms, log_volume[rows].numpy(), score[rows].numpy()), len(z)
        )
        return log_volume + self._log_constant, score

    def place(self, z):
        """:meth:`to_cartesian` without derivatives."""
        z = z.detach().cpu().contiguous()
        x = torch.empty(len(z), self.n_atoms, 3, dtype=z.dtype)
        in_chunks(lambda rows: place(z[rows].numpy(), *self._tree, x[rows].numpy()), len(z))
        return x

    def pull_back(self, x, g):
        """Derivatives with respect to z (n, 3N − 6) of what has derivatives `g` with respect to placed positions `x`.

        Both (n, n_atoms, 3). Where g belongs to a function that ignores rotation and translation, x may lie anywhere.
        """
        x, g = (t.detach().cpu().contiguous() for t in (x, g.to(x.dtype)))
        out = torch.empty(len(x), len(self), dtype=x.dtype)

        def work(rows):
            pull_back(x[rows].numpy(), g[rows].numpy(), *self._tree, self.z_matrix.is_main, out[rows].numpy())

        in_chunks(work, len(x))
        return out


class _Placement(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, coordinates):
        x = coordinates.place(z).to(z.device)
        ctx.coordinates = coordinates
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.coordinates.pull_back(x, g).to(g.device), None
