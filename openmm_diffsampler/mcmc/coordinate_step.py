"""One Metropolis step of a single coordinate, or particle, of each denoising posterior in a batch."""

import torch

from .metropolis import metropolis
from .state import evaluate

__all__ = ["coordinate_step"]


def coordinate_step(target, state, x_t, s, generator):
    r"""Draw one coordinate of each row anew from N(x_t, s²), and accept by the energy alone.

    The posterior is :math:`p(x \mid x_t) \propto e^{-u(x)} N(x; x_t, s^2)`, and its Gaussian factor knows coordinates
    one by one: with one of them drawn from it the acceptance is :math:`\min(1, e^{-\Delta u})`. Where modes differ in
    single coordinates, such a step leads from one to another in any number of dimensions; a draw of all coordinates at
    once does not.

    Of particles all coordinates of one are drawn together. Where the centroid does not move, one is drawn for it first,
    from N(0, s²/N) around that of x_t: u does not depend on it, and in the larger space particles are as independent as
    coordinates are.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        state: :class:`~openmm_diffsampler.mcmc.state.ChainState` of n rows.
        x_t: (n, *event_shape).
        s: (n,) noise, in the units of x.
        generator: torch Generator.

    Returns:
        The new :class:`~openmm_diffsampler.mcmc.state.ChainState` and each row's acceptance probability (n,).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target, generator = GaussianMixture([[-3.0], [3.0]], scales=0.5), torch.Generator().manual_seed(0)
        >>> state = evaluate(target, torch.full((1000, 1), 3.0, dtype=torch.float64))
        >>> x_t, s = torch.zeros_like(state.x), torch.full((1000,), 3.0, dtype=torch.float64)
        >>> for _ in range(30):
        ...     state, probability = coordinate_step(target, state, x_t, s, generator)
        >>> bool((state.x < 0).double().mean() > 0.4)  # half of them are to be in either mode
        True
    """
    n, options = len(state), {"generator": generator, "dtype": state.x.dtype, "device": state.x.device}
    x, scale = state.x, target.per_row(s)
    if target.translation_invariant:
        x = x + scale / x.shape[-2] ** 0.5 * torch.randn(n, 1, x.shape[-1], **options)
    n_parts = x.shape[1]
    chosen = torch.randint(n_parts, (n,), generator=generator, device=x.device)
    mask = torch.nn.functional.one_hot(chosen, n_parts).bool().reshape(n, n_parts, *(1 for _ in x.shape[2:]))
    proposed = torch.where(mask, x_t + scale * torch.randn(n, 1, *x.shape[2:], **options), x)
    moved = evaluate(target, target.project(proposed))
    accepted, probability = metropolis(state.u - moved.u, generator)
    return state.where(accepted, moved), probability
