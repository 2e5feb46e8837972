"""What makes tests of samplers short."""

import pytest

from openmm_diffsampler.samplers import edg, one_step_sampling


@pytest.fixture
def few_measured(monkeypatch):
    """Levels are measured at few configurations, where it does not matter how good samples are."""
    for module in (edg, one_step_sampling):
        monkeypatch.setattr(module, "_N_MEASURED", 64)
