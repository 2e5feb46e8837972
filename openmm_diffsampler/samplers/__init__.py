"""Samplers that learn: generators of independent, weighted samples, trained from energies and scores alone."""

from .base import Sampler
from .idem import IDEM
from .idem_settings import IDEMSettings
from .training import TrainingDivergedError

__all__ = ["IDEM", "METHODS", "IDEMSettings", "Sampler", "TrainingDivergedError", "load_pretrained"]

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
