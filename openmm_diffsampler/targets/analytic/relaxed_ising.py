"""The Ising model on a periodic square lattice, made continuous by a Gaussian integral."""

import math

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ..base import Target

__all__ = ["RelaxedIsing", "ising_log_partition"]

#: Spins whose clusters are found at a time.
_CHUNK = 2**20


class RelaxedIsing(Target):
    r"""L×L spins with energy −Σ_<ij> s_i s_j at temperature T, relaxed to N = L² real numbers.

    With K_ij = 1/T for each bond of i and j, P(s) ∝ exp(½ sᵀKs). Since s_i² = 1 a diagonal λ only adds λN/2, and

    .. math:: e^{\frac12 s^T (K + \lambda I) s} = \int \mathcal{N}(x; 0, K + \lambda I)\, e^{s^T x}\, dx

    makes the sum over spins one over independent spins in a field x:

    .. math:: e^{-u(x)} = \mathcal{N}(x; 0, K + \lambda I) \prod_i 2\cosh x_i, \qquad
              \ln Z = \ln Z_\mathrm{Ising} + \tfrac12 \lambda N,

    and score −(K + λI)⁻¹x + tanh x. λ makes the smallest eigenvalue of K + λI equal `margin`; for even L that is 4/T +
    `margin`. Spins of x are drawn by P(s_i = 1 | x) = 1/(1 + exp(−2x_i)); x given s is Gaussian, with mean (K + λI)s
    and covariance K + λI. Well below T = 2.269 the two signs of the magnetisation are two
    modes, mirror images of each other.

    ln Z_Ising is that of Kaufman's finite lattice. For L = 2 two bonds join each pair of neighbours.

    Arguments:
        size: L, at least 2.
        temperature: T, in units of the coupling.
        margin: smallest eigenvalue of K + λI.
        whitened: the same density over y, where x = (K + λI)^{1/2} y: a standard normal but for the factors 2cosh.
        name: how reports call the density.
        dtype, device: of the evaluation.

    Raises:
        ValueError: a size that is not an integer of two or more, a temperature or margin that is not positive.

    References:
        Hubbard, Phys. Rev. Lett. 3, 77 (1959); Kaufman, Phys. Rev. 76, 1232 (1949); Li & Wang, "Neural network
        renormalization group", Phys. Rev. Lett. 121, 260601 (2018), for the density as a test of samplers.

    Example:
        >>> target = RelaxedIsing(16, 2.0)
        >>> target
        RelaxedIsing(name='ising', event_shape=(256,), dtype=torch.float64)
        >>> round(target.log_Z_ising, 2), round(target.log_Z - target.log_Z_ising, 2)
        (263.3, 268.8)
        >>> x = target.sample(10, torch.Generator().manual_seed(0))
        >>> target.spins(x, torch.Generator().manual_seed(0)).shape
        torch.Size([10, 256])
    """

    preset_key = "ising"

    def __init__(
        self, size, temperature, *, margin=0.1, whitened=False, name="ising", dtype=torch.float64, device="cpu"
    ):
        if not isinstance(size, int) or isinstance(size, bool) or size < 2:
            raise ValueError(f"size is {size!r}; give an integer of at least 2")
        for label, value in (("temperature", temperature), ("margin", margin)):
            if not 0 < value < math.inf:
                raise ValueError(f"{label} is {value}; it must be positive")
        n = size**2
        super().__init__((n,), name=name, dtype=dtype, device=device)
        self.size, self.spin_temperature, self.margin = size, float(temperature), float(margin)
        sites = np.arange(n).reshape(size, size)
        self._bonds = np.stack(
            [np.tile(sites.ravel(), 2), np.concatenate([np.roll(sites, -1, a).ravel() for a in (0, 1)])]
        )
        coupling = np.zeros((n, n))
        np.add.at(coupling, tuple(self._bonds), 1 / self.spin_temperature)
        coupling += coupling.T
        values, vectors = np.linalg.eigh(coupling)
        self.shift = self.margin - float(values[0])
        values += self.shift
        made = {"dtype": dtype, "device": device}
        self.covariance = torch.as_tensor(coupling + self.shift * np.eye(n), **made)
        self._precision = torch.as_tensor((vectors / values) @ vectors.T, **made)
        self._root = torch.as_tensor((vectors * np.sqrt(values)) @ vectors.T, **made)
        self.is_whitened, self.lattice = bool(whitened), (size, size)
        self.mirror = torch.ones(n, **made)  # the magnetisation, of y as of x
        log_volume = 0.0 if whitened else float(np.log(values).sum())
        self._constant = 0.5 * (log_volume + n * math.log(2 * math.pi))
        self.log_Z_ising = ising_log_partition(size, temperature)
        self.log_Z = self.log_Z_ising + 0.5 * self.shift * n

    def _parameters(self):
        return {"temperature": self.spin_temperature, "margin": self.margin, "whitened": self.is_whitened}

    def _evaluate(self, x):
        field = self.field(x)
        pull = x if self.is_whitened else x @ self._precision
        push = field.tanh() @ self._root if self.is_whitened else field.tanh()
        # ln 2cosh, without overflow
        log_cosh = field.abs() + (-2 * field.abs()).exp().log1p()
        return (0.5 * x * pull - log_cosh).sum(1) + self._constant, push - pull

    def field(self, x):
        """The field that spins feel, x itself or (K + λI)^{1/2} y: (n, L²) → (n, L²)."""
        return x @ self._root if self.is_whitened else x

    def spins(self, x, generator):
        """Spins (n, L²) of −1 and 1, drawn given `x` (n, L²): Ising spins, where x has the density of this target."""
        x = self.field(self._validated(x))
        even = torch.rand(x.shape, generator=generator, dtype=self.dtype, device=self.device)
        return torch.where(even < (2 * x).sigmoid(), 1.0, -1.0).to(self.dtype)

    def sample(self, n, generator, n_sweeps=64):
        """Independent samples (n, L²), each from the end of a Swendsen–Wang chain of its own.

        Chains start with all spins aligned, up or down, and are `n_sweeps` long. Not exact, as no Markov chain is; but
        at the critical temperature of a 16×16 lattice, the worst case, two or three sweeps halve what is left of the
        start, so that nothing of it can be told from samples. Larger lattices take slightly longer.

        Arguments:
            n: how many.
            generator: torch Generator.
            n_sweeps: length of each chain.
        """
        chunk = max(1, _CHUNK // self.size**2)
        spins = [self._chains(min(chunk, n - start), generator, n_sweeps) for start in range(0, n, chunk)]
        spins = torch.cat([torch.empty(0, self.size**2, dtype=self.dtype, device=self.device), *spins])
        noise = torch.randn(spins.shape, generator=generator, dtype=self.dtype, device=self.device)
        return spins @ self._root + noise if self.is_whitened else spins @ self.covariance + noise @ self._root

    def _chains(self, n, generator, n_sweeps):
        """Spins (n, L²) at the end of n Swendsen–Wang chains."""
        kwargs = {"generator": generator, "device": self.device}
        n_sites = self.size**2
        start = torch.where(torch.rand(n, 1, **kwargs) < 0.5, 1, -1).cpu().numpy()
        spins = np.broadcast_to(start, (n, n_sites)).astype(np.int8)
        first, second = (ends[None] + n_sites * np.arange(n)[:, None] for ends in self._bonds)
        activation = -math.expm1(-2 / self.spin_temperature)
        for _ in range(n_sweeps):
            aligned = spins[:, self._bonds[0]] == spins[:, self._bonds[1]]
            active = aligned & (torch.rand(aligned.shape, **kwargs).cpu().numpy() < activation)
            links = first[active], second[active]
            graph = coo_matrix((np.ones(len(links[0]), np.int8), links), shape=(spins.size, spins.size))
            cluster = connected_components(graph, directed=False)[1]
            sign = torch.where(torch.rand(spins.size, **kwargs) < 0.5, 1, -1).cpu().numpy().astype(np.int8)
            spins = sign[cluster].reshape(spins.shape)  # Each cluster takes a fresh sign.
        return torch.as_tensor(spins, dtype=self.dtype, device=self.device)


def ising_log_partition(size, temperature):
    r"""ln Σ_s exp(Σ_<ij> s_i s_j/T) over all spins of a periodic size×size square lattice, by Kaufman's formula.

    .. math:: Z = \tfrac12 (2 \sinh 2K)^{N/2} \Big[\prod_r 2\cosh\tfrac{L\gamma_{2r+1}}{2} +
              \prod_r 2\sinh\tfrac{L\gamma_{2r+1}}{2} + \prod_r 2\cosh\tfrac{L\gamma_{2r}}{2} +
              \prod_r 2\sinh\tfrac{L\gamma_{2r}}{2}\Big]

    over r = 0 … L−1, with K = 1/T, cosh γ_l = cosh 2K coth 2K − cos(πl/L), and γ_0 = 2K + ln tanh K, which is negative
    above the critical temperature.

    References:
        Kaufman, Crystal statistics II, Phys. Rev. 76, 1232 (1949).

    Example:
        >>> round(ising_log_partition(2, 1.0), 6)  # ln(2e⁸ + 12 + 2e⁻⁸)
        8.695158
    """
    k = 1 / temperature
    level = np.arange(2 * size)
    # cosh 2K coth 2K, of exp(−2K) alone: no overflow at low temperatures
    decay = math.exp(-4 * k)
    cosh_times_coth = math.exp(2 * k) * (1 + decay) ** 2 / (2 * (1 - decay))
    gamma = np.arccosh(cosh_times_coth - np.cos(math.pi * level / size))
    gamma[0] = 2 * k + math.log(math.tanh(k))
    half = size * gamma / 2
    size_of = np.abs(half)
    with np.errstate(divide="ignore"):  # at the critical temperature one product vanishes
        log_sinh = size_of + np.log(-np.expm1(-2 * size_of))
    log_cosh = size_of + np.log1p(np.exp(-2 * size_of))
    terms = np.array([part[start::2].sum() for part in (log_cosh, log_sinh) for start in (0, 1)])
    signs = np.array([1, 1, np.sign(half[0]), 1])  # of cosh even, cosh odd, sinh even, sinh odd
    largest = terms.max()
    total = float((signs * np.exp(terms - largest)).sum())
    log_double_sinh = 2 * k + math.log1p(-decay)  # ln(2 sinh 2K)
    return 0.5 * size**2 * log_double_sinh + float(largest) + math.log(total / 2)
