"""A project with an MLflow database, and a tiny model that was exported once."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.lifecycle import dvc
from pipeline.params import Params
from tests.lifecycle import forked, toy, traced
from tests.lifecycle.made import evaluated_run, other_model, project_folder
from tests.lifecycle.traced import Traced
from tests.once import once
from tests.serving.exported import model
from tests.tracking.conftest import client, empty_database, home

__all__ = ["client", "empty_database", "home", "model"]


@pytest.fixture
def params(home: Path) -> Params:
    return project_folder()


@pytest.fixture
def good(client: MlflowClient, params: Params, model: Path) -> str:
    return evaluated_run(client, "good", model, errors=80)


@pytest.fixture
def better(client: MlflowClient, params: Params, model: Path, home: Path) -> str:
    return evaluated_run(client, "better", other_model(model, home / "models/better", 1), errors=40)


@pytest.fixture
def worse(client: MlflowClient, params: Params, model: Path, home: Path) -> str:
    return evaluated_run(client, "worse", other_model(model, home / "models/worse", 2), errors=120)


@pytest.fixture
def forked_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC need not import itself; what its stages call is started as ever."""
    monkeypatch.setattr(dvc, "PROGRAM", forked.program())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project with results, for clones; each test process has its own, as some tests change its source."""
    return toy.project(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def traced_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project under git and DVC, for copies."""
    return once(tmp_path_factory, "traced", traced.project_in)


@pytest.fixture
def project_of_runs(
    traced_project: Path, empty_database: Path, folder: Path, forked_dvc: None, monkeypatch: pytest.MonkeyPatch
) -> Traced:
    """A copy of it, in which the test runs."""
    return traced.copy(traced_project, empty_database, folder, monkeypatch)
