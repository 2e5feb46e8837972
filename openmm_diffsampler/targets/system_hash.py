"""What a System's energy depends on, as a hash that does not depend on the version of OpenMM."""

from __future__ import annotations

import hashlib
import re
from xml.parsers import expat

import openmm

__all__ = ["is_hash_of", "parameter_hash"]

#: Attributes of the serialisation, not of the energy.
_ABOUT_THE_FILE = ("openmmVersion", "version", "forceGroup", "randomSeed", "randomNumberSeed")
#: Forces without an energy.
_NO_ENERGY = re.compile("CMMotionRemover|AndersenThermostat|.*Barostat")
#: Entries that later versions write with a value that changes nothing.
_DEFAULTS = {"scaleFactor": "1.0", "pi0": "-1.0", "pi1": "-1.0", "pj0": "-1.0", "pj1": "-1.0", "type": "fixed"}
#: Versions as OpenMM prints them, which stood in hashes of the text, as they were made once.
_VERSIONS = ("8.6.1", "8.6", "8.5.2", "8.5.1", "8.5", "8.4", "8.3.1", "8.3", "8.2", "8.1.2", "8.1.1", "8.1", "8.0")
_DIGITS = 16


def parameter_hash(system: openmm.System) -> str:
    """Sixteen hexadecimal digits of the masses, the box and the parameters of all forces.

    Numbers count by their value, zeros and what is empty like what is absent, since later versions of OpenMM write
    entries that earlier ones do not know; the order of forces, their names and their groups do not count.

    Example:
        >>> def spring(k):
        ...     system, bond = openmm.System(), openmm.HarmonicBondForce()
        ...     _ = [system.addParticle(1.0) for _ in range(2)], bond.addBond(0, 1, 0.1, k)
        ...     _ = system.addForce(bond)
        ...     return parameter_hash(system)
        >>> len(spring(1.0)), spring(1.0) == spring(1), spring(1.0) == spring(2.0)
        (16, True, False)
    """
    return hashlib.sha256(_canonical(openmm.XmlSerializer.serialize(system)).encode()).hexdigest()[:_DIGITS]


def is_hash_of(recorded: str, system: openmm.System) -> bool:
    """Whether `recorded` is the hash of `system`, or one of its text, as earlier versions of this package made it."""
    if recorded == parameter_hash(system):
        return True
    text = openmm.XmlSerializer.serialize(system)
    texts = (re.sub(r'openmmVersion="[^"]*"', f'openmmVersion="{version}"', text, count=1) for version in _VERSIONS)
    return any(hashlib.sha256(t.encode()).hexdigest()[:_DIGITS] == recorded for t in texts)


class _Element:
    """An element of the serialisation, while it is read."""

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name, self.attributes, self.children = name, attributes, []

    def text(self) -> str:
        """What it says, or nothing if that is nothing."""
        if self.name == "Force" and _NO_ENERGY.fullmatch(self.attributes.get("type", "")):
            return ""
        if not self.attributes and not any(self.children):
            return ""
        kept = sorted(f"{key}={_value(value)}" for key, value in self.attributes.items() if self._counts(key, value))
        inside = sorted(filter(None, self.children)) if self.name == "Forces" else self.children
        return f"{self.name}({','.join(kept)})[{';'.join(inside)}]"

    def _counts(self, key: str, value: str) -> bool:
        is_label = key in _ABOUT_THE_FILE or (key == "name" and self.name == "Force")
        return not is_label and _value(value) not in ("", _DEFAULTS.get(key, "0.0"))


def _value(text: str) -> str:
    try:
        return repr(abs(float(text)) if float(text) == 0 else float(text))
    except ValueError:
        return text


def _canonical(xml: str) -> str:
    stack = [_Element("", {})]

    def end(_: str) -> None:
        done = stack.pop()
        stack[-1].children.append(done.text())

    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, attributes: stack.append(_Element(name, attributes))
    parser.EndElementHandler = end
    parser.Parse(xml, True)
    return stack[0].children[0]
