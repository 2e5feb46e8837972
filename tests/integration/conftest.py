"""Commands in this process, which has imported already what takes seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from openmm_diffsampler.cli import app


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Function of words → result of the command, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("openmm_diffsampler.targets.backends.kernel")
    handlers, level = logger.handlers, logger.level

    def run(*words: str) -> Result:
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        logger.handlers, logger.level = handlers, level  # those of a command write to its own output
        return result

    return run
