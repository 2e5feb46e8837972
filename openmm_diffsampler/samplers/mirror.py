"""What a sampler that keeps one of two mirror images makes of densities with u(−x) = u(x)."""

import math

import torch

__all__ = ["kept_half", "mirrored"]

#: Share of the samples in one half from which on the other one is made of it.
_LOST = 0.75


def kept_half(target, x):
    """1 or −1, the sign of mirror · x that more than three quarters of samples x (n, *event_shape) have; else 0.

    Example:
        >>> from openmm_diffsampler.targets import RelaxedIsing
        >>> kept_half(RelaxedIsing(4, 2.0), -torch.ones(10, 16))
        -1
    """
    if target.mirror is None:
        return 0
    share = float((_along(target, x) > 0).double().mean())
    return 1 if share > _LOST else -1 if share < 1 - _LOST else 0


def mirrored(target, x, half, generator):
    r"""Samples of both halves from those of one, and what their weights are to be multiplied by.

    Where u(−x) = u(x), Z is twice the integral over the half H of the kept sign. For weights w with
    :math:`\mathrm{E}[w\,f] = \int f e^{-u}` for every f, and a random sign σ of each sample,

    .. math:: \mathrm{E}[2 w\,1_H(x)\,f(\sigma x)] = \int_H (f(x) + f(-x))\,e^{-u(x)}\,dx = \int f e^{-u},

    so that nothing depends on what the sampler does with the other half any more.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` with a `mirror`.
        x: (n, *event_shape) samples.
        half: 1 or −1, of :func:`kept_half`.
        generator: torch Generator.

    Returns:
        x with random signs, and (n,) ln 2, or −∞ outside the half.
    """
    inside = half * _along(target, x) > 0
    sign = torch.randint(2, (len(x),), generator=generator, device=x.device).to(x) * 2 - 1
    return target.per_row(sign) * x, torch.where(inside, math.log(2), -torch.inf).double()


def _along(target, x):
    return (target.mirror.to(x) * x).flatten(1).sum(1)
