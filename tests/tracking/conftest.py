"""A project folder with an MLflow database, and programs that run in it."""

import logging
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from mlflow import MlflowClient
from werkzeug.serving import BaseWSGIServer, make_server

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


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseWSGIServer]:
    """MLflow's own server over the project's database, in a thread, on a free port."""
    from mlflow import server as mlflow_server
    from mlflow.server import handlers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("starlette.middleware.wsgi")  # the server does, at a search of runs, and it warns of itself
    monkeypatch.setenv(mlflow_server.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{home / 'mlflow.db'}")
    monkeypatch.setenv(mlflow_server.ARTIFACT_ROOT_ENV_VAR, str(home / "kept"))
    monkeypatch.setattr(handlers, "_tracking_store", None)
    # It would make the database the address for everything in this process.
    monkeypatch.setattr(handlers.utils, "set_tracking_uri", lambda uri: None)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    made = make_server("127.0.0.1", 0, mlflow_server.app, threaded=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{made.server_port}")
    yield made
    made.shutdown()
    made.server_close()


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
