"""Arguments of the move's torsion noise: what is taken and what is refused."""

import math

import mdtraj
import pytest
from openmm import unit
from openmmtools import states

from .known import TEMPERATURE
from .test_move_torsions import chain, chain_topology, make, reference_cache


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"topology": None}, ValueError, "needs the bonds of the molecule"),
        ({"topology": "chain.pdb"}, TypeError, "topology is a str"),
        ({"topology": chain_topology(3)}, ValueError, "no rotatable bond"),
        ({"torsion_scale": 0}, ValueError, "torsion_scale is 0"),
        ({"torsion_scale": math.nan}, ValueError, "torsion_scale is nan"),
        ({"torsion_scale": 1 * unit.nanometer}, TypeError, "no angle"),
        ({"torsion_scale": None}, ValueError, "topology is for torsion noise"),
        ({"torsion_scale": None, "topology": None}, ValueError, "n_torsion_trials is for torsion noise"),
        ({"n_torsion_trials": 0}, ValueError, "n_torsion_trials is 0"),
        ({"n_torsion_trials": 1.5}, ValueError, "n_torsion_trials is 1.5"),
        ({"noise_scales": []}, ValueError, "no noise level"),
    ],
)
def test_refusals(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_refusals_in_apply():
    thermodynamic, start = chain()
    with pytest.raises(ValueError, match="5 atoms and the System 4 particles"):
        make(topology=chain_topology(5)).apply(thermodynamic, start, reference_cache())
    system = thermodynamic.system
    system.addConstraint(0, 1, 0.15)
    with pytest.raises(ValueError, match="constraints=None"):
        make().apply(states.ThermodynamicState(system, TEMPERATURE), start, reference_cache())


def test_degrees_and_topologies_of_mdtraj():
    from_mdtraj = make(topology=mdtraj.Topology.from_openmm(chain_topology()), torsion_scale=90 * unit.degree)
    expected = make(torsion_scale=math.pi / 2).__getstate__()
    expected["torsions"]["scale"] = pytest.approx(math.pi / 2)
    assert from_mdtraj.__getstate__() == expected
