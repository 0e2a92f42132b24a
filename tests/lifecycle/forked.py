"""DVC as a process of its own that need not import it first, which takes a second: some tests call it ten times."""

import subprocess
from pathlib import Path

from pipeline.lifecycle import dvc
from tests import warm

_MODULES = (
    "dulwich.worktree",
    "dvc._debug",
    "dvc.cachemgr",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo.artifacts",
    "dvc.repo.datasets",
    "dvc.repo.graph",
    "dvc.repo.index",
    "dvc.repo.metrics",
    "dvc.repo.params",
    "dvc.repo.plots",
    "dvc.repo.stage",
    "dvc.repo.trie",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index",
    "fsspec.implementations.memory",
    "networkx",
    "rich.console",
    "ruamel.yaml",
)
AS_EVER = dvc.PROGRAM


def program() -> tuple[str, ...]:
    """How it is started."""
    return str(warm.python(*_MODULES)), "-m", "dvc"


def done(folder: Path, *command: str) -> str:
    """What DVC said in a folder, if it ended well."""
    whole = (*program(), *command)
    answer = subprocess.run(whole, cwd=folder, env=dvc.variables(), capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
