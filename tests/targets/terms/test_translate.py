"""Which Systems become tables of terms, and what is said of those that do not."""

import openmm
import pytest

from openmm_diffsampler.targets.terms.translate import (
    SUPPORTED_FORCES,
    UnsupportedForceError,
    translate_system,
    unsupported_reasons,
)

from ..reference import particles

EMPTY = {
    "CustomBondForce": ("r",),
    "CustomAngleForce": ("theta",),
    "CustomTorsionForce": ("theta",),
    "CustomExternalForce": ("x",),
    "CustomNonbondedForce": ("r",),
}


def empty(name):
    return getattr(openmm, name)(*EMPTY.get(name, ()))


def test_every_supported_force_is_one_of_openmm_and_may_be_empty():
    assert len(SUPPORTED_FORCES) == 13
    system = particles(0, *(empty(name) for name in SUPPORTED_FORCES))
    assert [term.source for term in translate_system(system).terms] == ["GBSAOBCForce", "CustomGBForce"]


@pytest.mark.parametrize("name", ["CMMotionRemover", "AndersenThermostat"])
def test_forces_without_energy_are_no_terms(name):
    force = openmm.CMMotionRemover() if name == "CMMotionRemover" else openmm.AndersenThermostat(300, 1)
    assert translate_system(particles(2, force)).terms == []


@pytest.mark.parametrize(
    "force",
    [openmm.CustomCompoundBondForce(2, "distance(p1,p2)"), openmm.GayBerneForce(), openmm.CustomHbondForce("1")],
    ids=lambda force: type(force).__name__,
)
def test_other_forces_are_named(force):
    with pytest.raises(UnsupportedForceError, match=f"{type(force).__name__} has no closed form here"):
        translate_system(particles(2, force))


BONDED = (
    "HarmonicBondForce",
    "HarmonicAngleForce",
    "PeriodicTorsionForce",
    "RBTorsionForce",
    "CMAPTorsionForce",
    "CustomBondForce",
    "CustomAngleForce",
    "CustomTorsionForce",
)


@pytest.mark.parametrize("name", BONDED)
def test_periodic_images_are_refused(name):
    force = empty(name)
    force.setUsesPeriodicBoundaryConditions(True)
    assert unsupported_reasons(particles(2, force)) == [f"{name} uses periodic boundary conditions"]


@pytest.mark.parametrize("method", ["CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME"])
def test_cutoffs_are_refused(method):
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(getattr(openmm.NonbondedForce, method))
    (reason,) = unsupported_reasons(particles(2, force))
    assert reason == "NonbondedForce uses a cutoff or periodic images (supported: NoCutoff)"


def test_all_reasons_are_given_at_once():
    cutoff = openmm.GBSAOBCForce()
    cutoff.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
    with pytest.raises(UnsupportedForceError, match=r"GBSAOBCForce uses a cutoff.*; GayBerneForce has no closed form"):
        translate_system(particles(2, cutoff, openmm.HarmonicBondForce(), openmm.GayBerneForce()))


def test_errors_in_expressions_name_the_force():
    force = openmm.CustomBondForce("k*r")
    with pytest.raises(UnsupportedForceError, match="CustomBondForce: unknown name 'k'"):
        translate_system(particles(2, force))


def test_terms_carry_their_parameters():
    force = openmm.HarmonicBondForce()
    force.addBond(2, 0, 0.15, 1000.0)
    force.addBond(0, 1, 0.1, 500.0)
    (term,) = translate_system(particles(3, force)).terms
    assert term.geometry == "distance" and term.source == "HarmonicBondForce"
    assert term.atoms.tolist() == [[2, 0], [0, 1]]
    assert {name: values.tolist() for name, values in term.parameters.items()} == {
        "r0": [0.15, 0.1],
        "k": [1000.0, 500.0],
    }


def test_pairs_without_interaction_are_left_out():
    force = openmm.NonbondedForce()
    for charge in (0.5, -0.5, 0.0):
        force.addParticle(charge, 0.3, 0.0)
    (term,) = translate_system(particles(3, force)).terms
    assert term.atoms.tolist() == [[0, 1]]
