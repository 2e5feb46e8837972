"""An openmm System from XML that somebody else wrote, without running code of theirs.

OpenMM keeps a ``PythonForce`` as a pickled function, and unpickling runs whatever its author wants. So the text is read
by expat first, within bounds of size and depth and without a document type; what it says is written down again, since
two parsers may understand one text differently; and only OpenMM's own forces are let through. While OpenMM reads the
result, ``pickle.loads`` is out of its reach besides.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import openmm

from openmm_diffsampler._common.quoting import shortened, shown

from .backends.threads import RenewedLock

__all__ = ["UntrustedCodeError", "plain_xml", "system_from_xml"]

#: A System of a million particles has fewer bytes, and none is nested deeper.
_LARGEST, _DEEPEST = 1 << 30, 32
#: What a ``type`` may say: OpenMM's classes that are read as numbers and expressions, with no code of their author's.
_DATA = frozenset(
    [
        "System",
        "fixed",
        "offset",
        "ATMForce",
        "AmoebaGeneralizedKirkwoodForce",
        "AmoebaMultipoleForce",
        "AmoebaTorsionTorsionForce",
        "AmoebaVdwForce",
        "AmoebaWcaDispersionForce",
        "AndersenThermostat",
        "CMAPTorsionForce",
        "CMMotionRemover",
        "ConstantPotentialForce",
        "CustomAngleForce",
        "CustomBondForce",
        "CustomCVForce",
        "CustomCentroidBondForce",
        "CustomCompoundBondForce",
        "CustomExternalForce",
        "CustomGBForce",
        "CustomHbondForce",
        "CustomManyParticleForce",
        "CustomNonbondedForce",
        "CustomTorsionForce",
        "CustomVolumeForce",
        "DrudeForce",
        "GBSAOBCForce",
        "GayBerneForce",
        "HarmonicAngleForce",
        "HarmonicBondForce",
        "HippoNonbondedForce",
        "LCPOForce",
        "MonteCarloAnisotropicBarostat",
        "MonteCarloBarostat",
        "MonteCarloFlexibleBarostat",
        "MonteCarloMembraneBarostat",
        "NonbondedForce",
        "OrientationRestraintForce",
        "PeriodicTorsionForce",
        "RBTorsionForce",
        "RGForce",
        "RMSDForce",
        "RPMDMonteCarloBarostat",
        "Continuous1DFunction",
        "Continuous2DFunction",
        "Continuous3DFunction",
        "Discrete1DFunction",
        "Discrete2DFunction",
        "Discrete3DFunction",
    ]
)


class UntrustedCodeError(ValueError):
    """A file holds code of its author's, or a force of which nobody here knows what it does when it is read."""


def system_from_xml(text: str, trust: bool = False) -> openmm.System:
    """The System that OpenMM's serialiser wrote as `text`.

    Arguments:
        text: XML.
        trust: run Python code that the text holds (``PythonForce``), and read forces of plug-ins.

    Raises:
        UntrustedCodeError: it holds such a force, and is not trusted.
        ValueError: it is no such XML.

    Example:
        >>> system = openmm.System()
        >>> _ = system.addParticle(1.0)
        >>> system_from_xml(openmm.XmlSerializer.serialize(system)).getNumParticles()
        1
    """
    plain = plain_xml(text, trust)
    try:
        if trust:
            found = openmm.XmlSerializer.deserialize(plain)
        else:
            with _no_unpickling():
                found = openmm.XmlSerializer.deserialize(plain)
    except UntrustedCodeError:
        raise
    except Exception as error:  # openmm raises OpenMMException, ValueError and KeyError for different damage
        raise ValueError(_unreadable(shortened(error))) from error
    if not isinstance(found, openmm.System):
        raise ValueError(f"holds an openmm {type(found).__name__}, not a System")
    return found


def _unreadable(why: str) -> str:
    return f"cannot be read by openmm ({why})"


def plain_xml(text: str, trust: bool = False) -> str:
    """The same elements and attributes, written such that every parser reads them alike; errors as above.

    Example:
        >>> plain_xml("<a b='1'><!-- c --><d/></a>")
        '<?xml version="1.0" ?><a b="1"><d></d></a>'
    """
    if len(text) > _LARGEST:
        raise ValueError(_unreadable(f"it has {len(text):,} characters, more than any System"))
    parts: list[str] = ['<?xml version="1.0" ?>']
    open_elements: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) >= _DEEPEST:
            raise ValueError(_unreadable(f"it is nested more than {_DEEPEST} deep, and no System is"))
        kind = attributes.get("type")
        if not open_elements and kind not in (None, "System"):
            raise ValueError(f"holds an openmm {shortened(kind)}, not a System")
        if not trust:
            _require_known(kind)
        open_elements.append(name)
        given = "".join(f" {key}={_quoted(value)}" for key, value in attributes.items())
        parts.append(f"<{name}{given}>")

    def end(name: str) -> None:
        open_elements.pop()
        parts.append(f"</{name}>")

    def characters(data: str) -> None:
        if data.strip():
            raise ValueError(_unreadable(f"it has the text {shown(data)} between elements, and no System has"))

    def refused(*_: Any) -> None:
        raise ValueError(_unreadable("it declares a document type, and no System does"))

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, refused
    parser.buffer_text = True
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(_unreadable(f"it is no well-formed XML: {error}")) from None
    return "".join(parts)


def _quoted(value: str) -> str:
    return quoteattr(value) if any(c in value for c in "&<>\"'\n\r\t") else f'"{value}"'


def _require_known(kind: str | None) -> None:
    """Raise unless what an element says of its type is known to be read without running code."""
    if kind is not None and kind not in _DATA and not kind.isdecimal():
        raise UntrustedCodeError(
            f"holds a {shown(kind)}, which may run code of its author's when it is read; pass trust=True (--trust) "
            "if you trust them"
        )


_unpickling = RenewedLock()
#: What pickle.loads is, while it is replaced.
_replaced: list[Any] = []


def _put_back() -> None:
    """In a forked child, where the thread that was reading is gone."""
    if _replaced:
        pickle.loads = _replaced.pop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_put_back)


@contextmanager
def _no_unpickling() -> Iterator[None]:
    """Raise afterwards if this thread unpickles anything, which it cannot do meanwhile.

    An error raised inside would end the process, since OpenMM calls from C++ and does not expect one.
    """
    thread, asked = threading.get_ident(), []

    def loads(*arguments: Any, **options: Any) -> Any:
        if threading.get_ident() != thread:
            return real(*arguments, **options)
        asked.append(True)
        return _nothing

    with _unpickling.lock:
        real = pickle.loads
        _replaced.append(real)
        pickle.loads = loads
        try:
            yield
        finally:
            pickle.loads = _replaced.pop()
    if asked:
        raise UntrustedCodeError(
            "holds a pickled Python function, which would run when it is read; pass trust=True (--trust) if you "
            "trust its author"
        )


def _nothing(*_: Any) -> None:
    return None
