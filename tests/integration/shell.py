"""Commands in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["completed", "process"]


def completed(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command that has ended, with what it printed."""
    return subprocess.run(process(*words), capture_output=True, text=True, cwd=cwd)


def process(*words: str) -> list[str]:
    """What starts a command in a process of its own."""
    return [sys.executable, "-c", "from openmm_diffsampler.__main__ import main; main()", *words]
