"""A decoder: from a latent to a Gaussian over configurations, with the forces of the target inside."""

import math

import torch

from .decoder_output import DecoderOutput, denoised
from .descent import Descent, bounded_force
from .equivariant import EquivariantNetwork
from .for_target import network_for
from .generator import Generator

__all__ = ["Decoder"]

#: Vectors that correct a leapfrog step where a network gives the scalings, too: T_v, T_y, Q_v, Q_y.
_N_CORRECTIONS = 4


class Decoder(torch.nn.Module):
    r"""q(x | z), a Gaussian around the end of a trajectory of generalised Hamiltonian dynamics.

    A generator network starts them, :math:`y = g(z)`, which steps of :class:`Descent` may follow; another network
    gives the velocity v. Each of the L steps is

    .. math:: v &\leftarrow v + \tfrac{h_l}{2}\big(f(y) \odot e^{\epsilon_0 Q_v/2} + T_v\big), \\
              y &\leftarrow y + h_l \big(v \odot e^{\epsilon_0 Q_y} + T_y\big), \\
              v &\leftarrow v + \tfrac{h_l}{2}\big(f(y) \odot e^{\epsilon_0 Q_v/2} + T_v\big),
              \qquad h_l = \sqrt{2\epsilon_0}\, e^{\epsilon_l},

    with networks Q and T of y and the step, and trainable ε_l. The force f is −∇u, shortened to F_max
    (:func:`~openmm_diffsampler.networks.descent.bounded_force`): what is inside the decoder biases nothing. At last

    .. math:: q(x \mid z) = N(\mu, \delta^2), \qquad \mu = y + \tfrac12 \delta^2 f(y), \qquad
              \delta = \sqrt{2 \epsilon_0}\, e^{\eta},

    with η trainable: a Langevin step. With `curved_noise` it is a Gaussian that the energy itself narrows where it is
    stiff, :func:`~openmm_diffsampler.networks.decoder_output.denoised`: the decoder then makes configurations with
    noise δ, in which what is stiff is blurred, and one Newton step takes that noise out.

    T and Q are zero at first. On coordinates that turn in circles μ is any representative, and the Gaussian is wrapped.
    For particles that are alike, T are vectors of an :class:`EquivariantNetwork` and Q invariant numbers of each
    particle, so that q(x | z) turns and permutes with z.

    With no steps of either kind and even noise this is the plain Gaussian decoder, :math:`\mu = g(z)`.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for its shape, symmetry and periods. A pass takes L + 1
            evaluations of its score and one for each step of descent; its derivative takes as many
            products, of two evaluations each.
        n_leapfrog: L, or 0.
        epsilon: ε_0, in squared units of x: δ starts at √(2ε_0), the step size at √(2ε_0), too.
        force_clip: F_max in 1/units of x.
        scale, width, n_layers, n_blocks, n_waves, length: of the :class:`Generator` and all other networks.
        n_descent, descent_step: of the :class:`Descent`; 0 steps: none.
        curved_noise: see above; it takes two evaluations more for each coordinate, and its derivative four for each.

    Raises:
        ValueError: curved noise of a target with periods.

    References:
        Wang, Guo, Wu & Liu, Energy based diffusion generator for efficient sampling of Boltzmann distributions,
        arXiv:2401.02080; Levy, Hoffman & Sohl-Dickstein, Generalizing Hamiltonian Monte Carlo with neural networks,
        ICLR 2018, for Q and T.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> target = DoubleWell()
        >>> decoder = Decoder(target, n_leapfrog=2, epsilon=0.01, scale=2.0, width=8, n_layers=1)
        >>> output = decoder(torch.randn(3, 4, 2), target)
        >>> output.mean.shape, round(output.width.item(), 4)
        (torch.Size([3, 4, 2]), 0.1414)
    """

    def __init__(
        self,
        target,
        *,
        n_leapfrog,
        epsilon,
        scale,
        width,
        n_layers,
        force_clip=30.0,
        n_blocks=1,
        n_waves=0,
        length=0.5,
        n_descent=0,
        descent_step=1e-3,
        curved_noise=False,
    ):
        super().__init__()
        if curved_noise and target.periods is not None:
            raise ValueError(f"curved noise is on straight coordinates alone; {target.name} has some that turn")
        self.epsilon, self.force_clip, self.curved_noise = float(epsilon), float(force_clip), curved_noise
        size = {"width": width, "n_layers": n_layers, "n_waves": n_waves, "length": length}
        self.start = Generator(target, scale=scale, n_blocks=n_blocks, **size)
        self.descent = Descent(n_descent, descent_step) if n_descent else None
        self.log_noise = torch.nn.Parameter(torch.zeros(()))
        self.corrections = torch.nn.ModuleList()
        if n_leapfrog:
            self.velocity = network_for(target, **size)
            self.is_equivariant = isinstance(self.velocity, EquivariantNetwork)
            outputs = {"n_outputs": 2, "n_scalars": 2} if self.is_equivariant else {"n_outputs": _N_CORRECTIONS}
            self.corrections.extend(network_for(target, **size, **outputs) for _ in range(n_leapfrog))
            self.log_steps = torch.nn.Parameter(torch.zeros(n_leapfrog))

    def output_noise(self):
        """δ, a scalar tensor."""
        return math.sqrt(2 * self.epsilon) * self.log_noise.exp()

    def forward(self, z, target, beta=1.0):
        """z (n, *event_shape), the target that forces are asked of, β → :class:`DecoderOutput`."""
        y, width = self._moved(z, target), self.output_noise()
        if self.curved_noise:
            return denoised(target, y, width, beta)
        if len(self.corrections):
            y = target.project(y + 0.5 * width**2 * bounded_force(target, y, self.force_clip))
        return DecoderOutput(target, y.to(target.dtype), width)

    def _moved(self, z, target):
        """Where trajectories end."""
        y = self.start(z)
        if self.descent is not None:
            y = target.project(self.descent(y, target))  # forces are bounded one by one: their sum is not zero
        if not len(self.corrections):
            return y
        start, end = (torch.full((len(z),), value, device=z.device) for value in (0.0, 1.0))
        v, last = self.velocity(self._inner(y), start).to(z.dtype), self.corrections[-1]
        force = bounded_force(target, y, self.force_clip)
        for network, log_step in zip(self.corrections, self.log_steps, strict=True):
            h = math.sqrt(2 * self.epsilon) * log_step.exp()
            push, shift, of_force, of_velocity = self._corrections(network, y, start)
            v = v + h / 2 * (force * (self.epsilon / 2 * of_force).exp() + push)
            y = y + h * (v * (self.epsilon * of_velocity).exp() + shift)
            if network is last:
                break  # the velocity is not asked for any more
            force = bounded_force(target, y, self.force_clip)
            push, _, of_force, _ = self._corrections(network, y, end)
            v = v + h / 2 * (force * (self.epsilon / 2 * of_force).exp() + push)
        return target.project(y)

    def _inner(self, y):
        """What networks see: distances between particles as they are; elsewhere numbers of order one."""
        return y if self.is_equivariant else y / self.start.factor.to(y.dtype)

    def _corrections(self, network, y, t):
        """T_v, T_y, Q_v and Q_y at y."""
        found = network(self._inner(y), t)
        return (*found[0], *found[1]) if self.is_equivariant else tuple(found)
