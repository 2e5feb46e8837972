"""Which network suits a target."""

from .equivariant import EquivariantNetwork
from .mlp import MLP

__all__ = ["network_for"]

#: The last bump of the EquivariantNetwork, in its ℓ.
_FURTHEST = 20.0


def network_for(target, *, width, n_layers, n_waves=0, length=0.5, **more):
    """A new network (x, t) → like x: an EquivariantNetwork for particles that are all alike, an MLP for anything else.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for its shape, symmetry and periods.
        width, n_layers: of either.
        n_waves: of the MLP.
        length: ℓ of the EquivariantNetwork, in the units of x.
        more: what both take, `n_outputs` and `n_given`.

    Example:
        >>> from openmm_diffsampler import DoubleWell, gmm40
        >>> [type(network_for(t, width=8, n_layers=1)).__name__ for t in (DoubleWell(), gmm40())]
        ['EquivariantNetwork', 'MLP']
    """
    size = {"width": width, "n_layers": n_layers, **more}
    if len(target.event_shape) == 2 and target.translation_invariant:
        return EquivariantNetwork(*target.event_shape, **size, length=length, furthest=_FURTHEST * length)
    return MLP(target.event_shape, **size, n_waves=n_waves, periods=target.periods)
