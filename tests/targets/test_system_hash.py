"""The hash of a System: that of its energy, whatever wrote the file."""

import hashlib
import re

import openmm
import pytest

from openmm_diffsampler.targets import load_system
from openmm_diffsampler.targets.system_hash import is_hash_of, parameter_hash


@pytest.fixture
def text():
    return openmm.XmlSerializer.serialize(load_system("alanine-dipeptide").system)


def _hash(text):
    return parameter_hash(openmm.XmlSerializer.deserialize(text))


def test_names_groups_and_the_order_of_forces_do_not_count(text):
    system = openmm.XmlSerializer.deserialize(text)
    other = openmm.System()
    for i in range(system.getNumParticles()):
        other.addParticle(system.getParticleMass(i))
    for force in reversed(system.getForces()):
        copy = openmm.XmlSerializer.clone(force)
        copy.setForceGroup(3)
        copy.setName("mine")
        other.addForce(copy)
    other.addForce(openmm.CMMotionRemover())
    assert parameter_hash(other) == parameter_hash(system)


@pytest.mark.parametrize(
    "pattern", [r' k="([^"]*)"', r' q="([^"]*)"', r' d="([^"]*)"', r' mass="([^"]*)"', r' p1="(\d+)"']
)
def test_every_parameter_counts(text, pattern):
    place = re.search(pattern, text).span(1)
    changed = text[: place[0]] + "7" + text[place[1] :]
    assert changed != text and _hash(changed) != _hash(text)


def test_expressions_and_numbers_of_terms_count(text):
    assert _hash(text.replace("138.935", "138.936", 1)) != _hash(text)
    assert _hash(re.sub(r"<Torsion [^>]*/>", "", text, count=1)) != _hash(text)


def test_numbers_count_by_value(text):
    first = re.search(r' k="([^"]*)"', text)
    longer = text[: first.start(1)] + f"{float(first[1]):.17e}" + text[first.end(1) :]
    assert longer != text and _hash(longer) == _hash(text)


@pytest.mark.parametrize("version", ["8.6.1", "8.2", "8.1.1"])
def test_hashes_of_the_text_are_known_whatever_version_made_them(text, version):
    system = openmm.XmlSerializer.deserialize(text)
    written = re.sub(r'openmmVersion="[^"]*"', f'openmmVersion="{version}"', text)
    assert is_hash_of(hashlib.sha256(written.encode()).hexdigest()[:16], system)
    assert is_hash_of(parameter_hash(system), system)
    assert not is_hash_of(hashlib.sha256(written.replace("138", "139").encode()).hexdigest()[:16], system)


def test_factors_of_zero_and_one_differ():
    """A later version writes a factor of one, which an earlier one does not know; zero switches an atom off."""

    def hashed(factor):
        system, force = openmm.System(), openmm.AmoebaVdwForce()
        system.addParticle(12.0)
        force.addParticle(0, 0.3, 1.0, 0.0, False, factor)
        system.addForce(force)
        return parameter_hash(system)

    assert hashed(1.0) != hashed(0.0)
