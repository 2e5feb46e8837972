"""Identities of targets in files of earlier versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .system_hash import is_hash_of

if TYPE_CHECKING:
    from .base import Target

__all__ = ["with_hash_of_today"]


def with_hash_of_today(recorded: Any, target: Target) -> Any:
    """A recorded identity, with the hash of its System as it is made today where that System is the target's.

    Arguments:
        recorded: what :meth:`Target.identity` gave once, or anything else, which stays as it is.
        target: with which it is compared.

    Example:
        >>> from openmm_diffsampler import DoubleWell, load_system
        >>> target = load_system("alanine-dipeptide-vacuum").target()
        >>> with_hash_of_today(target.identity(), target) == target.identity()
        True
        >>> with_hash_of_today({"name": "dw4"}, DoubleWell())
        {'name': 'dw4'}
    """
    ours = target.identity()
    if not isinstance(recorded, dict) or not isinstance(recorded.get("system"), str) or "system" not in ours:
        return recorded
    is_same = recorded["system"] == ours["system"] or is_hash_of(recorded["system"], target.frames_of.system)
    return recorded | {"system": ours["system"]} if is_same else recorded
