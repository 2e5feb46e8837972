"""Which sampler a target gets when nobody has chosen one."""

import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import DiffusiveGibbs, InternalDiffusiveGibbs, OpenMMTarget, gmm40, load_system
from openmm_diffsampler.coordinates import NoInternalCoordinatesError
from openmm_diffsampler.mcmc import recommended_sampler

from .torsion_chain import TorsionChain

CHAIN = TorsionChain()


def test_molecules_are_sampled_in_internal_coordinates():
    sampler, why = recommended_sampler(CHAIN.target, CHAIN.start, n_leapfrog=2)
    assert isinstance(sampler, InternalDiffusiveGibbs) and why == "rotatable torsions: 1"
    assert sampler.n_rungs == 1 and sampler.kernels[-1].n_leapfrog == 2


def test_what_has_no_internal_coordinates_is_sampled_in_cartesian_ones():
    system = openmm.XmlSerializer.clone(CHAIN.target.system)
    field = openmm.CustomExternalForce("50*x^2")
    field.addParticle(0, [])
    system.addForce(field)
    x = CHAIN.start.numpy()
    target = OpenMMTarget(system, 300 * unit.kelvin, CHAIN.target.topology, positions=x)
    sampler, why = recommended_sampler(target, x)
    assert isinstance(sampler, DiffusiveGibbs) and "moved and turned" in why
    assert sampler.kernels[0].name == "torsion noise 1.5 rad"
    with pytest.raises(NoInternalCoordinatesError, match="moved and turned"):
        recommended_sampler(target, x, coordinates="internal")
    cluster = load_system("lj13")
    sampler, why = recommended_sampler(cluster.target(), cluster.positions)
    assert isinstance(sampler, DiffusiveGibbs) and why == "the topology has no bonds"
    assert isinstance(recommended_sampler(gmm40(), torch.zeros(2), 4)[0], DiffusiveGibbs)
    with pytest.raises(TypeError, match="no topology"):
        recommended_sampler(gmm40(), torch.zeros(2), 4, coordinates="internal")


def test_cartesian_coordinates_on_request():
    sampler, why = recommended_sampler(CHAIN.target, CHAIN.start, coordinates="cartesian", torsion_scale=0.5)
    assert isinstance(sampler, DiffusiveGibbs) and why == "as asked for" and sampler.kernels[0].scale == 0.5
    with pytest.raises(ValueError, match="coordinates are 'polar'"):
        recommended_sampler(CHAIN.target, CHAIN.start, coordinates="polar")


def test_mistakes_are_not_taken_for_a_lack_of_coordinates():
    with pytest.raises(ValueError, match="noise scale is -1"):
        recommended_sampler(CHAIN.target, CHAIN.start, noise_scales=[-1.0])
