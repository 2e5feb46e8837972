"""Samplers that learn: generators of independent, weighted samples, trained from energies and scores alone."""

from .base import Sampler, description
from .idem import IDEM
from .idem_settings import IDEMSettings
from .training import TrainingDivergedError

__all__ = ["IDEM", "METHODS", "IDEMSettings", "Sampler", "TrainingDivergedError", "load_pretrained", "load_sampler"]

#: Methods by name, the recommended ones first.
METHODS = {sampler.method: sampler for sampler in (IDEM,)}


def load_pretrained(name):
    """The recommended sampler that comes with a built-in system.

    Raises:
        FileNotFoundError: no such system, or none comes with it.

    Example:
        >>> load_pretrained("gmm40").method
        'idem'
    """
    for sampler in METHODS.values():
        try:
            return sampler.pretrained(name)
        except FileNotFoundError as error:
            missing = error
    raise missing


def load_sampler(folder, target=None):
    """The sampler that was saved in `folder`, whatever its method; see :meth:`Sampler.load`."""
    method = description(folder)["method"]
    if method not in METHODS:
        raise ValueError(f"{folder} holds a sampler of unknown method {method!r}; known are {', '.join(METHODS)}")
    return METHODS[method].load(folder, target)
