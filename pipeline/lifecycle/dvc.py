"""DVC, called as a program in a folder."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import UserError

PROGRAM = (sys.executable, "-m", "dvc")
# With them DVC would take itself for a part of another project's run.
_OF_A_STAGE = {"DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"}


def variables() -> dict[str, str]:
    """The environment for DVC: without what tells of a stage around us, with this Python first, which stages call."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_STAGE}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a DVC command in a folder; what it says is in the answer."""
    whole = (*PROGRAM, *command)
    return subprocess.run(whole, cwd=folder, env=variables(), capture_output=True, encoding="utf-8", errors="replace")


def cache(folder: Path) -> Path:
    """Where the cache of a project lies.

    Raises:
        UserError: DVC does not say.
    """
    answer = run(folder, "cache", "dir")
    if answer.returncode or not answer.stdout.strip():
        raise UserError(f"DVC does not say where the cache of {folder} is: {last_line(answer)}")
    return (folder / answer.stdout.strip()).resolve()


def last_line(answer: subprocess.CompletedProcess[str]) -> str:
    """The last thing that a command said."""
    lines = (answer.stderr or answer.stdout).strip().splitlines()
    return lines[-1] if lines else "it says nothing"
