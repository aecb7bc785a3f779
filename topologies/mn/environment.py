"""The virtual environment's Python, for what Mininet's Python cannot import."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pricing.errors import EmulationError

HOME = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("VIRTUAL_ENV", HOME / ".venv")) / "bin/python"
"""Of the environment that is activated, else of the checkout's."""


def environment(**more: str) -> Mapping[str, str]:
    """Variables of a process that runs a module of ours."""
    return {**os.environ, "PYTHONPATH": str(HOME), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", **more}


def command(module: str, *arguments: str) -> list[str]:
    """Words that start a module of ours on the virtual environment's Python.

    Raises
    ------
    EmulationError
        When it is not set up.
    """
    if not PYTHON.exists():
        raise EmulationError(f"{PYTHON} is missing; `{HOME}/bin/wardrop setup` makes it")
    return [str(PYTHON), "-m", module, *arguments]


def answer(module: str, *arguments: str) -> str:
    """What a module of ours prints.

    Raises
    ------
    EmulationError
        With its own words when it fails.
    """
    done = subprocess.run(
        command(module, *arguments), env=environment(), cwd=Path.cwd(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EmulationError(done.stderr.strip() or f"{module} ended with {done.returncode}")
    return done.stdout
