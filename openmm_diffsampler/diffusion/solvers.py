"""From noise to samples with their log-weights: the reverse process step by step, and its probability flow.

A score function takes (x, t) with x (n, *event_shape) and t (n,) and gives ∇log p_t(x), however good. Both ways return
log-weights log w with E[w] = Z = ∫e^{−u}: the better the score, the more even they are. On coordinates with periods
(:attr:`~openmm_diffsampler.targets.Target.periods`) noise is wrapped, the prior uniform, and Z counts one turn.
"""

import math
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch

from .kernels import draw_prior, log_normal, log_prior, require_circles, wrapped

__all__ = ["SolverSamples", "flow_log_density", "flow_samples", "path_log_weights", "path_samples"]


class SolverSamples(NamedTuple):
    """x (n, *event_shape), log_weights (n,) in double precision, and the reduced potential (n,) that is in them."""

    x: torch.Tensor
    log_weights: torch.Tensor
    reduced_potential: torch.Tensor


def path_samples(
    target, score, schedule, n, n_steps, generator, *, width=math.inf, spreads=None, prior_scale=None, n_noiseless=0
):
    r"""Draws by the reverse process in `n_steps` steps, and exact log-weights of their paths.

    The noising process :math:`x_0 \to x_1 \to \dots \to x_T` has the kernels :math:`N(x_{k}; a_k x_{k-1}, v_k)`, and
    the sampling process goes back by :math:`q(x_{k-1} \mid x_k) = N((x_k + v_k s(x_k))/a_k, \tilde v_k)`. Then

    .. math:: \log w = -u(x_0) + \sum_k \log N(x_k; a_k x_{k-1}, v_k) - \log q(x_T) - \sum_k \log q(x_{k-1} \mid x_k)

    has E[w] = Z for any number of steps and any score, in the subspace of the target.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        score: score function.
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule`.
        n: samples.
        n_steps: levels of noise, evaluations of the score a sample; or their times, rising to 1, where they are not
            even in the time of the schedule.
        generator: torch Generator.
        width: τ of the target, for the variance :math:`\tilde v = v\,(\alpha_{k-1}^2\tau^2 + \sigma_{k-1}^2) /
            (\alpha_k^2\tau^2 + \sigma_k^2)`, exact for a Gaussian of that width; infinity gives v/a².
        spreads: √ṽ of each step, from the lowest level to the highest, in place of those of `width`; (n_steps,), or
            (n_steps, D) with one for each coordinate of a target with periods.
        prior_scale: of the Gaussian that x_T starts from; by default √(α²τ² + σ²) at t = 1, or σ where τ is infinite.
        n_noiseless: last steps that add no noise. Such paths have no density: the weights are NaN.

    Returns:
        :class:`SolverSamples`.

    Raises:
        ValueError: a target with periods, and a schedule that is not variance exploding.
    """
    require_circles(target, schedule)
    steps = _Steps(schedule, n_steps, width, spreads, prior_scale, n_noiseless)
    x, log_prior_density = draw_prior(target, n, steps.prior_scale, generator)
    log_weights = -log_prior_density
    for k in reversed(range(len(steps.times))):
        noise = target.normal(n, generator)
        mean = steps.reverse_mean(target, score, x, k)
        before = wrapped(target, mean + steps.spreads[k] * noise)
        log_weights = log_weights + steps.log_noising(target, before, x, k)
        log_weights = log_weights - (log_normal(target, noise, steps.spreads[k]) if steps.is_noisy(k) else math.nan)
        x = before
    u = target.reduced_potential(x).double()
    return SolverSamples(x, log_weights.double() - u, u)


def path_log_weights(
    target, score, schedule, x_0, n_steps, generator, *, width=math.inf, spreads=None, prior_scale=None
):
    """The log-weights (n,) of :func:`path_samples` for paths that noising makes out of x_0 (n, *event_shape).

    Where x_0 is in equilibrium, these are draws of the density of paths that is being sampled: an independence
    Metropolis step between them and the paths of :func:`path_samples` leaves that density invariant.

    Arguments:
        target, score, schedule, n_steps, generator, width, spreads, prior_scale: as for :func:`path_samples`.
        x_0: configurations.
    """
    require_circles(target, schedule)
    steps = _Steps(schedule, n_steps, width, spreads, prior_scale, 0)
    x, log_weights = x_0, -target.reduced_potential(x_0).double()
    for k in range(len(steps.times)):
        after = wrapped(target, steps.a[k] * x + steps.v[k] ** 0.5 * target.normal(len(x), generator))
        standardised = (x - steps.reverse_mean(target, score, after, k)) / steps.spreads[k]
        log_weights = log_weights + steps.log_noising(target, x, after, k)
        log_weights = log_weights - log_normal(target, standardised, steps.spreads[k])
        x = after
    return log_weights - log_prior(target, x, steps.prior_scale)


class _Steps:
    """The kernels x → a x + √v ε of each level, and of the steps back."""

    def __init__(self, schedule, n_steps, width, spreads, prior_scale, n_noiseless):
        self.times = torch.linspace(0, 1, n_steps, dtype=torch.float64) if isinstance(n_steps, int) else n_steps
        alpha = [1.0, *schedule.alpha(self.times).tolist()]
        sigma = [0.0, *schedule.sigma(self.times).tolist()]
        self.prior_scale = prior_scale or _prior_scale(alpha[-1], sigma[-1], width)
        levels = range(1, len(alpha))
        self.a = [alpha[k] / alpha[k - 1] for k in levels]
        self.v = [sigma[k] ** 2 - (self.a[k - 1] * sigma[k - 1]) ** 2 for k in levels]
        if spreads is None:
            spreads = [
                _reverse_variance(self.v[k - 1], self.a[k - 1], alpha[k - 1 : k + 1], sigma[k - 1 : k + 1], width)
                ** 0.5
                for k in levels
            ]
        spreads = [float(s) if getattr(s, "ndim", 0) == 0 else s for s in spreads]
        self.spreads = [0.0 if k < n_noiseless else spread for k, spread in enumerate(spreads)]

    def is_noisy(self, k):
        """Whether the step back from level k has a density."""
        return bool(torch.as_tensor(self.spreads[k]).all())

    def reverse_mean(self, target, score, x, k):
        """(x + v s(x))/a at level k."""
        s = target.project(score(x, self.times[k].to(x.device, x.dtype).expand(len(x))))
        return (x + self.v[k] * s) / self.a[k]

    def log_noising(self, target, before, after, k):
        """log N(after; a before, v), (n,)."""
        scale = self.v[k] ** 0.5
        return log_normal(target, (after - self.a[k] * before) / scale, scale)


def _prior_scale(alpha, sigma, width):
    return sigma if math.isinf(width) else math.hypot(alpha * width, sigma)


def _reverse_variance(v, a, alpha, sigma, width):
    if math.isinf(width):
        return v / a**2
    before, after = ((al * width) ** 2 + si**2 for al, si in zip(alpha, sigma, strict=True))
    return v * before / after


def flow_samples(target, score, schedule, n, n_steps, generator, *, width=math.inf, prior_scale=None, n_probes=None):
    r"""Draws by the probability-flow ODE, and log-weights from the change of density along it.

    .. math:: \frac{dx}{dt} = f(t)\,x - \tfrac12 g^2(t)\,s(x, t), \qquad
              \frac{d \log q(x)}{dt} = -\nabla\cdot\frac{dx}{dt}, \qquad \log w = -u(x_0) - \log q(x_0)

    by Heun's method from t = 1 to t = 0, in steps even in the time of the schedule. The weights are exact up to the
    error of the solver, and with probes up to that of the trace.

    Arguments:
        target, score, schedule, n, generator, width, prior_scale: as for :func:`path_samples`; the score must be
            differentiable.
        n_steps: steps, two evaluations of the score with divergence each.
        n_probes: random vectors of Hutchinson's estimator of the divergence, at least one; None takes it exactly, one
            derivative a coordinate.

    Returns:
        :class:`SolverSamples`.

    References:
        Song et al., ICLR 2021; Grathwohl et al., FFJORD, ICLR 2019.
    """
    require_circles(target, schedule)
    start_scale = prior_scale or _scale_at_one(schedule, width)
    x, log_q = draw_prior(target, n, start_scale, generator)
    times = torch.linspace(1, 0, n_steps + 1, dtype=x.dtype, device=x.device)

    def probes():
        return None if n_probes is None else [_on_sphere(target, target.normal(n, generator)) for _ in range(n_probes)]

    x, change = _flow(target, schedule, x, times, partial(_score_and_divergence, target, score), probes)
    x = wrapped(target, x)
    u = target.reduced_potential(x).double()
    return SolverSamples(x, -u - log_q.double() + change, u)


def flow_log_density(target, score, schedule, x_0, n_steps, *, prior_scale=None, width=math.inf):
    r"""log q(x_0) (n,), double precision, of the density that the probability flow of a score carries the prior to.

    The same flow as in :func:`flow_samples`, from given configurations to noise, with the exact divergence:
    :math:`\log q(x_0) = \log q(x_1) + \int_0^1 \nabla \cdot \tfrac{dx}{dt}\,dt`.

    Arguments:
        target, score, schedule, width, prior_scale: as for :func:`flow_samples`.
        x_0: (n, *event_shape).
        n_steps: steps of Heun's method, two evaluations of the score with divergence each.
    """
    require_circles(target, schedule)
    prior_scale = prior_scale or _scale_at_one(schedule, width)
    times = torch.linspace(0, 1, n_steps + 1, dtype=x_0.dtype, device=x_0.device)
    x_1, change = _flow(target, schedule, x_0, times, partial(_score_and_divergence, target, score))
    return log_prior(target, wrapped(target, x_1), prior_scale).double() + change


def _scale_at_one(schedule, width):
    one = torch.ones((), dtype=torch.float64)
    return _prior_scale(float(schedule.alpha(one)), float(schedule.sigma(one)), width)


def _flow(target, schedule, x, times, score_and_divergence, new_probes=lambda: None):
    """Where the probability flow carries x along `times`, and the integral of its divergence, (n,).

    Arguments:
        score_and_divergence: function of x, t and probes.
        new_probes: function that gives those of a step: new ones each, so that their errors average out.
    """
    change = torch.zeros(len(x), dtype=torch.float64, device=x.device)

    def flow(x, t, probes):
        velocity, divergence = score_and_divergence(x, t, probes)
        drift, half = schedule.drift(t), 0.5 * schedule.diffusion_squared(t)
        return drift * x - half * velocity, drift * target.n_degrees_of_freedom - half * divergence

    for t, following in pairwise(times):
        h, probes = following - t, new_probes()
        velocity, divergence = flow(x, t, probes)
        end_velocity, end_divergence = flow(x + h * velocity, following, probes)
        x = x + h / 2 * (velocity + end_velocity)
        change = change + h / 2 * (divergence + end_divergence).double()
    return x, change


def _on_sphere(target, probe):
    """The probe with |z|² = D, which finds the divergence of anything isotropic without error."""
    square = probe.flatten(1).square().sum(1).reshape(-1, *(1 for _ in target.event_shape))
    return probe * (target.n_degrees_of_freedom / square).sqrt()


def _score_and_divergence(target, score, x, t, probes):
    """Score in the subspace of the target, and its divergence there, (n,)."""
    n = len(x)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        s = target.project(score(target.project(x), t.expand(n)))
        if probes is None:
            basis = torch.eye(math.prod(target.event_shape), dtype=x.dtype, device=x.device)
            probes = [direction.reshape(1, *target.event_shape).expand(n, *target.event_shape) for direction in basis]
            weight = 1.0
        else:
            weight = 1 / len(probes)
        divergence = x.new_zeros(n)
        for probe in probes:
            (product,) = torch.autograd.grad(s, x, probe, retain_graph=True)
            divergence = divergence + weight * (product * probe).flatten(1).sum(1)
    return s.detach(), divergence.detach()
