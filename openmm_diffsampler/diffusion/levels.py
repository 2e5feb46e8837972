"""Where the steps of the reverse process go, and how much noise each adds: measured on noised configurations."""

from typing import NamedTuple

import torch

__all__ = ["LevelTables", "measure_levels", "place_levels", "reverse_spreads"]

#: Length of the differences that curvatures are measured by, relative to the noise.
_DIFFERENCE = 0.02


class LevelTables(NamedTuple):
    r"""What a score is like at times even from 0 to 1, (n_grid,) each, per degree of freedom.

    Attributes:
        size: ⟨2 s·s* − |s|²⟩/D for the score s and the exact s*, which is ⟨|s*|²⟩/D = −⟨∇·s*⟩/D where they agree; of a
            target with periods (n_grid, D), for each angle by itself and for the real coordinates together.
        cost: σ⁴⟨|H − h̄I|²⟩ with the Jacobian H of the score and its mean diagonal h̄, summed over all entries: how far
            from isotropic the steps are that the noise is taken out in (with periods: from what `size` tells apart).
    """

    size: torch.Tensor
    cost: torch.Tensor


def measure_levels(target, score, schedule, x_0, exact_score, generator, n_grid=33):
    """Measure :class:`LevelTables` of a score function.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        score: score function.
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule`.
        x_0: (n, *event_shape) configurations in equilibrium.
        exact_score: (x_0, x_t, t, generator) → (n, *event_shape) whose mean given x_t is the exact score.
        generator: torch Generator.
        n_grid: times.
    """
    d, n = target.n_degrees_of_freedom, len(x_0)
    size, cost = [], []
    for time in torch.linspace(0, 1, n_grid, dtype=torch.float64):
        t = time.to(x_0.device, x_0.dtype).expand(n)
        alpha, sigma = float(schedule.alpha(time)), float(schedule.sigma(time))
        x_t = alpha * x_0 + sigma * target.normal(n, generator)
        s = target.project(score(x_t, t))
        square = 2 * s * exact_score(x_0, x_t, t, generator) - s * s
        size.append(_by_group(target, square) if target.periods is not None else float(square.sum()) / (n * d))
        z = target.normal(n, generator)
        step = _DIFFERENCE * sigma
        bend = (target.project(score(x_t + step * z, t)) - s) / step
        diagonal = float((bend * z).sum() / (z * z).sum()) if target.periods is None else _by_group(target, bend * z)
        cost.append(sigma**4 * float((bend - diagonal * z).flatten(1).square().sum(1).mean()))
    size = torch.tensor(size, dtype=torch.float64) if target.periods is None else torch.stack(size).double().cpu()
    return LevelTables(size, torch.tensor(cost, dtype=torch.float64))


def _by_group(target, values):
    """Means (D,) of values (n, D): of each angle, and of all real coordinates, whose noise has one size."""
    mean = values.mean(0)
    real = target.periods.isinf()
    return torch.where(real, mean[real].mean(), mean)


def place_levels(tables, n, even=0.25):
    r"""Times (n,) of n levels from 0 to 1 that make the steps cost alike, closest where the posterior is least round.

    One step of width Δt from a Gaussian of the right mean and mean variance is
    :math:`\tfrac14 v^2 |H - \bar h I|^2 \propto \mathrm{cost}(t)\,\Delta t^2` nats away from the posterior (in a
    schedule where ln σ is linear in t), and the sum over n levels is least when their density is ∝ √cost.
    [derived here]

    Arguments:
        tables: :class:`LevelTables`.
        n: levels, at least 2.
        even: share of the levels that is spread evenly.

    Example:
        >>> flat = LevelTables(torch.ones(5), torch.ones(5))
        >>> place_levels(flat, 3)
        tensor([0.0000, 0.5000, 1.0000], dtype=torch.float64)
    """
    if n < 2:
        raise ValueError(f"there are {n} levels; a reverse process needs at least 2")
    root = tables.cost.double().clamp(min=0).sqrt()
    density = even + (1 - even) * root / root.mean() if root.sum() > 0 else torch.ones_like(root)
    steps = 0.5 * (density[1:] + density[:-1])
    cumulated = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)]) / steps.sum()
    share = torch.linspace(0, 1, n, dtype=torch.float64)
    right = torch.searchsorted(cumulated, share).clamp(1, len(cumulated) - 1)
    part = (share - cumulated[right - 1]) / (cumulated[right] - cumulated[right - 1])
    times = (right - 1 + part) / (len(cumulated) - 1)
    times[0], times[-1] = 0.0, 1.0
    return times


def reverse_spreads(schedule, times, size):
    r"""√ṽ of each reverse step, :math:`\tilde v = \frac{v}{a^2}(1 - v \cdot \mathrm{size})`.

    It is the variance that an isotropic Gaussian around the mean of the posterior must have, exactly; with a size for
    each coordinate, a Gaussian that is isotropic among those of one size: (n, D).

    Arguments:
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule`.
        times: (n,) rising to 1.
        size: of :class:`LevelTables`.

    References:
        Bao, Li, Zhu & Zhang, Analytic-DPM, ICLR 2022.
    """
    at = times * (len(size) - 1)
    left = at.long().clamp(max=len(size) - 2)
    by_row = (-1, *(1 for _ in size.shape[1:]))
    part = (at - left).reshape(by_row)
    at_times = size[left] * (1 - part) + size[left + 1] * part
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    before_alpha = torch.cat([torch.ones(1, dtype=times.dtype), alpha[:-1]])
    before_sigma = torch.cat([torch.zeros(1, dtype=times.dtype), sigma[:-1]])
    a = alpha / before_alpha
    v = sigma**2 - (a * before_sigma) ** 2
    v, a = v.reshape(by_row), a.reshape(by_row)
    # What is left can be no less than a sliver, however badly the score was measured.
    left_over = (1 - v * at_times.to(v.dtype)).clamp(min=1e-3)
    return (v * left_over).sqrt() / a
