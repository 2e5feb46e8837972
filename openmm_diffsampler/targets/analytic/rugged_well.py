"""A harmonic well with ripples, in any number of dimensions."""

import math

import torch

from ..base import Target

__all__ = ["RuggedWell"]

#: Points of the quadrature, and how far it reaches in units of the width of the harmonic well.
_N_GRID, _REACH = 2**16 + 1, 12.0


class RuggedWell(Target):
    r"""u(x) = Σ_i x_i²/(2w²) − a cos(2πx_i/λ): a product of one-dimensional rugged wells.

    Ripples of height 2a and wavelength λ part a harmonic well of width w into about 4w/λ + 1 wells in each dimension,
    so that modes multiply with the dimension. log Z is d times a one-dimensional integral by the trapezoidal rule,
    exact to rounding for so smooth a density; samples invert its cumulative sums.

    Chosen here, for studies of how samplers scale; a smooth well with cosine ripples is the potential of Zwanzig,
    "Diffusion in a rough potential", PNAS 85 (1988).

    Arguments:
        n_dimensions: d.
        width: w.
        amplitude: a, in kT; barriers are about twice as high.
        wavelength: λ.
        name: how reports call the density, by default "rugged-10" in ten dimensions.
        dtype, device: of the evaluation.

    Raises:
        ValueError: `n_dimensions` is not a positive integer, a width or wavelength that is not positive, an amplitude
            that is negative.

    Example:
        >>> target = RuggedWell(10)
        >>> target
        RuggedWell(name='rugged-10', event_shape=(10,), dtype=torch.float64)
        >>> target.reduced_potential(torch.zeros(1, 10))  # ten times −a
        tensor([-15.], dtype=torch.float64)
        >>> round(RuggedWell(2, width=1.0, amplitude=0.0).log_Z, 6)  # without ripples: ln 2π
        1.837877
    """

    def __init__(
        self, n_dimensions, *, width=2.0, amplitude=1.5, wavelength=2.0, name=None, dtype=torch.float64, device="cpu"
    ):
        if not isinstance(n_dimensions, int) or isinstance(n_dimensions, bool) or n_dimensions < 1:
            raise ValueError(f"n_dimensions is {n_dimensions!r}; give a positive integer")
        for label, value in (("width", width), ("wavelength", wavelength)):
            if not 0 < value < math.inf:
                raise ValueError(f"{label} is {value}; it must be positive")
        if not 0 <= amplitude < math.inf:
            raise ValueError(f"amplitude is {amplitude}; it must not be negative")
        super().__init__((n_dimensions,), name=name or f"rugged-{n_dimensions}", dtype=dtype, device=device)
        self.width, self.amplitude, self.wavelength = float(width), float(amplitude), float(wavelength)
        self._grid = torch.linspace(-_REACH * width, _REACH * width, _N_GRID, dtype=torch.float64)
        density = (-self._energy(self._grid)).exp()
        self._cumulative = torch.cat([torch.zeros(1).double(), (density[1:] + density[:-1]).cumsum(0)])
        step = 2 * _REACH * self.width / (_N_GRID - 1)
        self.log_Z = n_dimensions * math.log(0.5 * step * float(self._cumulative[-1]))
        self._cumulative /= self._cumulative[-1].clone()

    def _parameters(self):
        return {"width": self.width, "amplitude": self.amplitude, "wavelength": self.wavelength}

    def _energy(self, x):
        return 0.5 * (x / self.width) ** 2 - self.amplitude * (2 * math.pi / self.wavelength * x).cos()

    def _evaluate(self, x):
        frequency = 2 * math.pi / self.wavelength
        ripple = self.amplitude * frequency * (frequency * x).sin()
        return self._energy(x).sum(1), -x / self.width**2 - ripple

    def sample(self, n, generator):
        """Independent samples (n, d) by inversion, exact to the spacing of the table, 4e-4 widths."""
        even = torch.rand(n, *self.event_shape, generator=generator, dtype=torch.float64, device=self.device).cpu()
        above = torch.searchsorted(self._cumulative, even).clamp(1, _N_GRID - 1)
        low, high = self._cumulative[above - 1], self._cumulative[above]
        share = ((even - low) / (high - low).clamp(min=1e-300)).clamp(0, 1)
        x = self._grid[above - 1] + share * (self._grid[above] - self._grid[above - 1])
        return x.to(dtype=self.dtype, device=self.device)

    def well(self, x):
        """Which well each coordinate is in, 0 for the one in the middle: (n, d) → (n, d) integers."""
        return (self._validated(x) / self.wavelength).round().long()
