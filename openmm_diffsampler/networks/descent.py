"""Forces of the target inside a network: bounded ones, and steps down its energy."""

import math

import torch

__all__ = ["Descent", "bounded_force"]

#: The largest force of :class:`Descent`, in 1/√h: thermal ones are about 1/√h where steps of h are as long as can be.
_LARGEST = 2.0


class Descent(torch.nn.Module):
    r"""Steps down the reduced potential with momentum, whose lengths and memory are learnt:

    .. math:: v \leftarrow \gamma_k v + h_k F(x), \qquad x \leftarrow x + v, \qquad v_0 = 0,

    with :math:`F = -\nabla u` shortened by :func:`bounded_force` to 2/√h_0. What is stiff is narrow in a Boltzmann
    density and hard to learn for a network; a few dozen steps narrow it, for as many evaluations of the score and
    hardly any other cost. They narrow it too far if nothing stops them: what follows must know its density, or bound
    it, as the noise of a decoder and its encoder do.

    Arguments:
        n_steps: how many.
        step: h_0 where every h_k starts, in squared units of x: best below 1 over the largest curvature of u.

    References:
        Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. 4
        (1964).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target = GaussianMixture([[0.0, 0.0]], scales=0.1)
        >>> x = Descent(100, 0.002)(torch.ones(1, 2), target)
        >>> bool(x.abs().max() < 0.01)
        True
    """

    def __init__(self, n_steps, step):
        super().__init__()
        self.step, self.most = float(step), _LARGEST / math.sqrt(step)
        self.log_lengths = torch.nn.Parameter(torch.zeros(n_steps))
        self.memory = torch.nn.Parameter(torch.zeros(n_steps))

    def steps(self):
        """h and γ, (n_steps,) each; γ is one half at first."""
        return self.step * self.log_lengths.exp(), self.memory.sigmoid()

    def forward(self, x, target):
        """x (n, *event_shape), the target that forces are asked of → like x."""
        v = torch.zeros_like(x)
        for h, memory in zip(*self.steps(), strict=True):
            v = memory * v + h * bounded_force(target, x, self.most)
            x = x + v
        return x


def bounded_force(target, x, most):
    r"""−∇u at x (n, *event_shape), F of each particle, or of all coordinates, shortened to F/(1 + |F|/`most`).

    That is smooth, leaves small forces alone, and is differentiable: second derivatives of u are evaluations, too.
    """
    force = target.score(x.to(target.dtype))  # overlaps overflow single precision
    last = (-1,) if force.ndim == 3 else tuple(range(1, force.ndim))
    size = force.square().sum(last, keepdim=True).clamp(min=1e-12).sqrt()
    return (force / (1 + size / most)).to(x.dtype)
