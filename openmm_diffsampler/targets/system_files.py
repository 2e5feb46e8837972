"""The files of a system's folder: ``topology.pdb``, ``system.xml`` and ``system.yaml``, read."""

import difflib
import inspect
import re
from pathlib import Path

import numpy as np
import openmm
import yaml
from openmm import app, unit

from .units import require_temperature

__all__ = ["LENGTH_UNITS", "closest", "read_metadata", "read_molecule"]

_COMMON = ("name", "description", "length_unit", "origin", "rebuild")
_MOLECULE = ("temperature", "force_field", *_COMMON)
_ANALYTIC = ("density", "parameters", *_COMMON)
#: What lengths mean: nanometer, or reduced units (1 length = 1 nm, 1 energy = 1 kJ/mol).
LENGTH_UNITS = ("nanometer", "reduced")


def closest(word, words):
    """A phrase that suggests the nearest of `words`, or nothing if none is near.

    Example:
        >>> closest("temprature", ["temperature", "density"])
        ' (did you mean "temperature"?)'
    """
    matches = difflib.get_close_matches(str(word), list(words), n=1)
    return f' (did you mean "{matches[0]}"?)' if matches else ""


def read_metadata(directory):
    """The entries of ``system.yaml``, checked, with the temperature as a Quantity.

    Raises:
        FileNotFoundError: there is no ``system.yaml``.
        ValueError: it is not a YAML mapping, or has unknown, missing or wrong entries.
    """
    file = Path(directory) / "system.yaml"
    try:
        entries = yaml.safe_load(_read_text(file))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not valid YAML; correct the place that the parser names: {error}") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{file} holds {type(entries).__name__} instead of entries such as 'temperature: 300 kelvin'")
    if "density" not in entries and "temperature" not in entries:
        raise ValueError(
            f"{file} lacks the entry 'temperature' (or 'density', for one in closed form); it has "
            f"{', '.join(map(str, entries)) or 'none'}{_misspelt(entries)}; add for example 'temperature: 300 kelvin'"
        )
    allowed = _ANALYTIC if "density" in entries else _MOLECULE
    for key, value in entries.items():
        if key not in allowed:
            raise ValueError(
                f"{file} has an unknown entry {key!r}{closest(key, allowed)}; allowed are {', '.join(allowed)}"
            )
        if key not in ("parameters", "temperature") and not isinstance(value, str):
            raise ValueError(f"{file} has {key}: {value!r}, which is not text; put it in quotes")
    if entries.get("length_unit", "nanometer") not in LENGTH_UNITS:
        raise ValueError(
            f"{file} has length_unit: {entries['length_unit']}; supported are {' and '.join(LENGTH_UNITS)}"
        )
    if "density" in entries:
        entries["parameters"] = _parameters(file, entries["density"], entries.get("parameters") or {})
    else:
        entries["temperature"] = _temperature(file, entries["temperature"])
    if "description" in entries:
        entries["description"] = " ".join(entries["description"].split())
    return entries


def read_molecule(directory):
    """(System, Topology, positions) of a folder; positions a Quantity in nm, (n_atoms, 3), to 0.0001 nm.

    Raises:
        FileNotFoundError: ``topology.pdb`` or ``system.xml`` is missing.
        ValueError: either is damaged, or their atom counts differ.
    """
    pdb, xml = Path(directory) / "topology.pdb", Path(directory) / "system.xml"
    topology, positions = _read_pdb(pdb)
    system = _read_xml(xml)
    if system.getNumParticles() != len(positions):
        raise ValueError(
            f"{pdb} has {len(positions)} atoms and {xml} has {system.getNumParticles()} particles; save both again "
            f"from one script with save_system (atoms of one residue need different names in a PDB file)"
        )
    return system, topology, positions


def _read_text(file):
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{file} is missing; a system's folder holds topology.pdb, system.xml and system.yaml, and save_system "
            f"writes all three (a density in closed form has only system.yaml)"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a text file ({error}); save it again with save_system") from error


def _read_pdb(file):
    _read_text(file)
    try:
        pdb = app.PDBFile(str(file))
        positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    except Exception as error:  # openmm's parser raises whatever its indexing and conversions raise
        raise ValueError(
            f"{file} is not a PDB file that openmm can read ({type(error).__name__}: {error}); write it with "
            f"save_system or openmm.app.PDBFile.writeFile"
        ) from error
    if not np.isfinite(positions).all():
        raise ValueError(f"{file} has NaN or infinite coordinates; write it again from valid positions")
    return pdb.topology, unit.Quantity(np.asarray(positions, dtype=np.float64), unit.nanometer)


def _read_xml(file):
    text = _read_text(file)
    try:
        system = openmm.XmlSerializer.deserialize(text)
    except Exception as error:  # openmm raises OpenMMException, ValueError and KeyError for different damage
        raise ValueError(
            f"{file} cannot be read by openmm ({error}); write it with save_system or openmm.XmlSerializer.serialize"
        ) from error
    if not isinstance(system, openmm.System):
        raise ValueError(
            f"{file} holds an openmm {type(system).__name__}, not a System; write it with "
            f"openmm.XmlSerializer.serialize(system) or save_system"
        )
    return system


def _temperature(file, text):
    """'300 kelvin' as a Quantity."""
    match = re.fullmatch(r"\s*(\S+)\s+(\S+)\s*", text) if isinstance(text, str) else None
    if match is None or match[2] not in ("kelvin", "K"):
        raise ValueError(
            f"{file} has temperature: {text!r}; give a number and the unit kelvin, such as 'temperature: 300 kelvin'"
        )
    try:
        return require_temperature(float(match[1]) * unit.kelvin)
    except ValueError as error:
        raise ValueError(f"{file} has temperature: {text!r}; give a positive number of kelvin ({error})") from error


def _parameters(file, density, parameters):
    from .analytic import DENSITIES

    if density not in DENSITIES:
        raise ValueError(
            f"{file} has an unknown density {density!r}{closest(density, DENSITIES)}; "
            f"supported are {', '.join(DENSITIES)}"
        )
    allowed = [
        key for key in inspect.signature(DENSITIES[density]).parameters if key not in ("name", "dtype", "device")
    ]
    if not isinstance(parameters, dict):
        raise ValueError(f"{file} has parameters: {parameters!r}; give entries such as 'parameters: {{n_pairs: 16}}'")
    for key in parameters:
        if key not in allowed:
            raise ValueError(
                f"{file} has an unknown parameter {key!r} for {density}{closest(key, allowed)}; "
                f"allowed are {', '.join(allowed) or 'none'}"
            )
    return parameters


def _misspelt(entries):
    near = [key for key in entries if difflib.get_close_matches(str(key), ("temperature", "density"), n=1)]
    return f" (is {near[0]!r} a misspelling?)" if near else ""
