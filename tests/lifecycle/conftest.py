"""A project with an MLflow database, and a tiny model that was exported once."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.params import Params
from tests.lifecycle import toy
from tests.lifecycle.made import evaluated_run, other_model, project_folder
from tests.serving.exported import export_tiny_model
from tests.tracking.conftest import client, empty_database, home

__all__ = ["client", "empty_database", "home"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny_model(tmp_path_factory.mktemp("model") / "best")


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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy project with results, for clones."""
    return toy.project(tmp_path_factory.mktemp("toy"))
