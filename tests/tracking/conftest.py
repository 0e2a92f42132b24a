"""A project folder with an MLflow database, and programs that run in it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.tracking import run, store
from tests.tracking.runs import InProcess

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, as it takes a second or two."""
    home = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.connect()
    return home / "mlflow.db"


@pytest.fixture
def home(folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose database stands."""
    shutil.copy(empty_database, folder / "mlflow.db")
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    return folder


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs send for themselves."""
    monkeypatch.setattr(run, "Sending", InProcess)


@pytest.fixture
def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home / 'mlflow.db'}")


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    """A Python program in the folder, with this repository's code, as a stage runs."""
    prelude = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom pipeline import environment; environment.prepare()\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
