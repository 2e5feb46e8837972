import itertools
import math

import openmm
import pytest
import torch

from openmm_diffsampler.targets.analytic import LennardJones
from openmm_diffsampler.targets.system import load_system


def _perturbed(system, n, scale):
    positions = torch.as_tensor(system.positions.value_in_unit(openmm.unit.nanometer))
    noise = torch.randn(n, *positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return positions + scale * noise


def test_each_pair_counts_twice_and_the_trap_is_about_the_centroid():
    x = 1.5 * torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = []
    for row in x.tolist():
        pairs = sum(math.dist(a, b) ** -12 - 2 * math.dist(a, b) ** -6 for a, b in itertools.permutations(row, 2))
        centroid = [sum(column) / 6 for column in zip(*row, strict=True)]
        expected.append(pairs + 0.5 * sum(math.dist(a, centroid) ** 2 for a in row))
    torch.testing.assert_close(LennardJones(6).reduced_potential(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("name", "n", "scale"), [("lj13", 13, 0.05), ("lj55", 55, 0.03)])
def test_agrees_with_the_openmm_system(name, n, scale):
    system = load_system(name)
    target = LennardJones(n)
    x = _perturbed(system, 5, scale)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system.system, openmm.VerletIntegrator(0.001), platform)
    u, score = target.reduced_potential_and_score(x)
    for i, positions in enumerate(x.numpy()):
        context.setPositions(positions)
        state = context.getState(energy=True, forces=True)
        energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
        forces = torch.as_tensor(state.getForces(asNumpy=True)._value)
        assert u[i].item() == pytest.approx(energy, rel=1e-10)
        torch.testing.assert_close(score[i], forces, rtol=1e-8, atol=1e-10 * forces.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_overlap_is_infinite_and_never_nan(dtype):
    """In float32 r⁻¹² overflows at r = 0.0006, where r⁻¹² − 2r⁻⁶ would still be finite, and both do at r = 1e-7."""
    distance = torch.tensor([0.0, 1e-30, 1e-7, 1e-4, 1e-3], dtype=dtype)
    x = torch.zeros(5, 2, 3, dtype=dtype)
    x[:, 1, 0] = distance
    u = LennardJones(2, dtype=dtype)._evaluate(x)[0]
    assert not u.isnan().any()
    assert u[0] == torch.inf and (u > 1e30).all()


@pytest.mark.parametrize("n_particles", [0, 1, 13.0, True])
def test_a_wrong_number_of_particles_is_refused(n_particles):
    with pytest.raises(ValueError, match="give an integer of at least 2"):
        LennardJones(n_particles)
