"""Which network suits a target."""

from .equivariant import EquivariantNetwork
from .lattice import LatticeNetwork
from .mlp import MLP

__all__ = ["network_for"]

#: The last bump of the EquivariantNetwork, in its ℓ.
_FURTHEST = 20.0


def network_for(target, *, width, n_layers, n_waves=0, length=0.5, **more):
    """A new network (x, t) → like x, that moves as a target does.

    An EquivariantNetwork for particles that are all alike, a LatticeNetwork for fields on a lattice (shifts alone), an
    MLP for any other target.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for its shape, symmetry and periods.
        width, n_layers: of either.
        n_waves: of the LatticeNetwork and the MLP.
        length: ℓ of the EquivariantNetwork, in the units of x.
        more: what all of them take, `n_outputs` and `n_given`; `n_scalars` of the EquivariantNetwork.

    Example:
        >>> from openmm_diffsampler import DoubleWell, gmm40
        >>> [type(network_for(t, width=8, n_layers=1)).__name__ for t in (DoubleWell(), gmm40())]
        ['EquivariantNetwork', 'MLP']
    """
    size = {"width": width, "n_layers": n_layers, **more}
    if len(target.event_shape) == 2 and target.translation_invariant:
        return EquivariantNetwork(*target.event_shape, **size, length=length, furthest=_FURTHEST * length)
    if target.lattice is not None:
        return LatticeNetwork(target.lattice, **size, n_waves=n_waves)
    return MLP(target.event_shape, **size, n_waves=n_waves, periods=target.periods)
