"""What a Boltzmann generator trains on: equilibrium configurations, which its own samples renew."""

import math

import torch

from openmm_diffsampler.mcmc.metropolis import metropolis

__all__ = ["GeneratorBuffer"]

#: Log-weights lower than log Z by more than this are those of clashes.
_CLASH = 10.0
#: Largest noise on configurations of the buffer, in thermal widths.
_LARGEST_NOISE = 0.5
#: Largest turn of a torsion, likewise.
_LARGEST_TURN = 1.2
#: Bins of a turn that tell how rare a torsion is.
_N_BINS = 36
#: How much of the running log Z a new estimate leaves.
_MEMORY = 0.9


class GeneratorBuffer:
    """Configurations as columns c (n, D) with their reduced potentials u (n,): in equilibrium, held out, and own ones.

    Those in equilibrium stay so: samples of the generator take their places by Metropolis steps. Held-out ones are
    never trained on. Own ones are the latest samples of the generator as they are, which tell it what not to make.

    Arguments:
        target: what the density is over, a :class:`~openmm_diffsampler.targets.Target`.
        columns: :class:`~openmm_diffsampler.coordinates.StandardColumns` between its configurations and c.
        c, u: (n, D) and (n,) in equilibrium; u counts the volume of the columns.

    Attributes:
        held_c, held_u: held out; none until :meth:`hold_out`.
        own_c, own_u: own samples, the latest last.
        log_z: the running log Z of the columns, or None.

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> from openmm_diffsampler.coordinates import StandardColumns
        >>> target, generator = GaussianMixture(torch.zeros(1, 2), scales=0.5), torch.Generator().manual_seed(0)
        >>> x = target.sample(100, generator)
        >>> columns = StandardColumns.of_density(x)
        >>> u = target.reduced_potential(x) - columns.log_scale
        >>> buffer = GeneratorBuffer(target, columns, columns.to_columns(x), u)
        >>> buffer.hold_out(10, generator)
        >>> len(buffer), len(buffer.held_c)
        (90, 10)
    """

    def __init__(self, target, columns, c, u):
        self.target, self.columns = target, columns
        self.c, self.u = c, u
        self.held_c, self.held_u = self.own_c, self.own_u = c[:0], u[:0]
        self.log_z = None
        self._seldom = None  # running sums of how rare the rows are, where they are known

    def __len__(self):
        return len(self.c)

    def hold_out(self, n, generator):
        """Take n configurations at random out of those in equilibrium."""
        order = torch.randperm(len(self.c), generator=generator)
        self.held_c, self.held_u = self.c[order[:n]], self.u[order[:n]]
        self.c, self.u = self.c[order[n:]], self.u[order[n:]]

    def draw(self, n, generator):
        """c (n, D) and u (n,) in equilibrium, at random."""
        rows = self.rows(n, generator)
        return self.c[rows], self.u[rows]

    def draw_mixed(self, n, own_share, noised_share, generator):
        """c (n, D) and u (n,): own samples first, then noised ones of the buffer, then those of the buffer as they are.

        Rows are drawn as often as they are rare, see :meth:`rows`.

        Returns:
            c, u, and how many rows are not those of the buffer.
        """
        rows = self.rows(n, generator, rare=True)
        c, u = self.c[rows], self.u[rows]
        n_own, n_noised = int(n * own_share) if len(self.own_c) else 0, int(n * noised_share)
        if n_own:
            own = torch.randint(len(self.own_c), (n_own,), generator=generator)
            c[:n_own], u[:n_own] = self.own_c[own], self.own_u[own]
        if n_noised:
            noised = slice(n_own, n_own + n_noised)
            c[noised], u[noised] = self._noised(c[noised], u[noised], generator)
        return c, u, n_own + n_noised

    def rows(self, n, generator, rare=False):
        """Rows (n,) at random: but every other one, where `rare`, as often as its torsions are seldom.

        In proportion to p^{−1/2}, p being the share of the bin of its rarest torsion: squares may be summed over any
        density, and a state of little weight needs log q to be right just as much.
        """
        rows = torch.randint(len(self.c), (n,), generator=generator)
        if rare and self.columns.n_circular:
            if self._seldom is None:
                self._seldom = self.rarity().cumsum(0)
            spot = torch.rand(n // 2, generator=generator, dtype=torch.float64) * self._seldom[-1]
            rows[: 2 * (n // 2) : 2] = torch.searchsorted(self._seldom, spot).clamp(max=len(self.c) - 1)
        return rows

    def rarity(self):
        """p^{−1/2} (n,) of the rarest torsion of each configuration in equilibrium."""
        rarest = torch.zeros(len(self.c), dtype=torch.float64)
        for angles in self.c[:, : self.columns.n_circular].unbind(1):
            bins = ((angles / (2 * math.pi) + 0.5) * _N_BINS).long().clamp(0, _N_BINS - 1)
            share = torch.bincount(bins, minlength=_N_BINS).double() / len(bins)
            rarest = torch.maximum(rarest, share[bins].rsqrt())
        return rarest

    def reduced_potential(self, c):
        """u (n,) of columns (n, D), with their volume; infinite outside the one turn of stiff torsions that counts."""
        y, inside = self.columns.from_columns(c)
        return torch.where(inside, self.target.reduced_potential(y) - self.columns.log_scale, torch.inf)

    def _noised(self, c, u, generator):
        """Configurations somewhat off those of the buffer, by up to a few tenths of thermal widths; their energies.

        In every other one a torsion turns on, towards where few configurations of the buffer are: between wells.
        """
        y, _ = self.columns.from_columns(c)
        s = _LARGEST_NOISE * torch.rand(len(c), 1, generator=generator, dtype=y.dtype)
        y = y + s * self.target.normal(len(y), generator)
        if self.columns.n_circular:
            rows = torch.nonzero(torch.rand(len(y), generator=generator) < 0.5)[:, 0]
            turning = torch.as_tensor(self.target.turning)
            torsion = turning[torch.randint(len(turning), (len(rows),), generator=generator)]
            turn = 2 * torch.rand(len(rows), generator=generator, dtype=y.dtype) - 1
            y[rows, torsion] += _LARGEST_TURN * turn
        # A clash counts as so much higher than where it came from: every row has a finite place to go to.
        u_noised = self.target.reduced_potential(y) - self.columns.log_scale
        return self.columns.to_columns(y), torch.minimum(u_noised, u + 2 * _CLASH)

    def learn_log_z(self, latest, forget):
        """Let an estimate into the running log Z, or, to `forget`, put it in its place; not one that is infinite."""
        if latest.isfinite():
            forget = forget or self.log_z is None
            self.log_z = float(latest) if forget else _MEMORY * self.log_z + (1 - _MEMORY) * float(latest)

    def keep_own(self, c, u, log_q, n):
        """Take samples of the generator as they are; the latest n stay. Without a log Z, none are taken."""
        if self.log_z is None:
            return
        # A clash, whose weight is zero or so, is to become e^{−10} times as likely, not impossible.
        cut = torch.minimum(u, _CLASH - self.log_z - log_q)
        self.own_c, self.own_u = torch.cat([self.own_c, c])[-n:], torch.cat([self.own_u, cut])[-n:]

    def swap(self, c, u, log_q, log_density, generator):
        """Independence Metropolis step: samples of the generator take the places of configurations in equilibrium.

        Arguments:
            c, u, log_q: (m, D), (m,), (m,) of the samples.
            log_density: function c → log q.
            generator: torch Generator.

        Returns:
            The share that was accepted.
        """
        rows = torch.randperm(len(self.c), generator=generator)[: len(c)]
        c, u, log_q = c[: len(rows)], u[: len(rows)], log_q[: len(rows)]
        present = -self.u[rows] - log_density(self.c[rows])
        accepted, _ = metropolis(-u - log_q - present, generator)
        self.c[rows[accepted]], self.u[rows[accepted]] = c[accepted], u[accepted]
        self._seldom = None
        return float(accepted.double().mean())

    def state_dict(self):
        return {
            "columns": self.c,
            "potentials": self.u,
            "held columns": self.held_c,
            "held potentials": self.held_u,
            "own columns": self.own_c,
            "own potentials": self.own_u,
            "log Z": self.log_z,
        }

    def load_state_dict(self, state):
        self.c, self.u = state["columns"], state["potentials"]
        self.held_c, self.held_u = state["held columns"], state["held potentials"]
        self.own_c, self.own_u, self.log_z = state["own columns"], state["own potentials"], state["log Z"]
