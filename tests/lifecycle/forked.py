"""DVC as a process of its own that need not import it first, which takes a second: some tests call it ten times."""

import subprocess
import tempfile
from pathlib import Path

from pipeline.lifecycle import dvc
from tests.nursery import nursery

_SECONDS = 300.0  # that anything may take on a busy machine
_MODULES = (
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
    "dvc.rwlock",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local",
    "dvc_data.hashfile.status",
    "dvc_data.index",
    "networkx",
)
program = dvc.run  # as it is outside of these tests


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Does what `pipeline.lifecycle.dvc.run` does."""
    with tempfile.TemporaryDirectory() as logs:
        said, complained = Path(logs, "out"), Path(logs, "err")
        forker = nursery(*_MODULES)
        process = forker.start("dvc.__main__", command, folder.absolute(), said, dvc.variables(), errors=complained)
        code = forker.wait(process, _SECONDS)
        return subprocess.CompletedProcess(command, code, said.read_text(), complained.read_text())


def done(folder: Path, *command: str) -> str:
    """What it said, if it ended well."""
    answer = run(folder, *command)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout
