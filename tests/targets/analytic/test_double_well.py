import itertools
import math

import pytest
import torch

from openmm_diffsampler.targets.analytic import DoubleWell


def test_each_pair_counts_once():
    x = 3 * torch.randn(10, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [
        sum(
            0.9 * (math.dist(a, b) - 4) ** 4 - 4 * (math.dist(a, b) - 4) ** 2 for a, b in itertools.combinations(row, 2)
        )
        for row in x.tolist()
    ]
    torch.testing.assert_close(DoubleWell().reduced_potential(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("spacing", [1.0, 4 - math.sqrt(4 / 1.8), 4.0, 4 + math.sqrt(4 / 1.8)])
def test_four_in_a_row(spacing):
    """Distances are three, two and one times 1, 2 and 3 spacings; the first is pushed by the other three."""
    x = torch.tensor([[[0.6 * i * spacing, 0.8 * i * spacing] for i in range(4)]], dtype=torch.float64)
    strains = [n * spacing - 4 for n in (1, 2, 3)]
    u, score = DoubleWell().reduced_potential_and_score(x)
    expected = sum((4 - n) * (0.9 * t**4 - 4 * t**2) for n, t in enumerate(strains, 1))
    assert u.item() == pytest.approx(expected, rel=1e-12)
    push = sum(3.6 * t**3 - 8 * t for t in strains)
    assert score[0, 0].tolist() == pytest.approx([0.6 * push, 0.8 * push], rel=1e-10)
