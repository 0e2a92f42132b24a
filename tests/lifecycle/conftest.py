"""A project with an MLflow database, and a tiny model that was exported once."""

from pathlib import Path

import pytest

from tests.serving.exported import export_tiny_model
from tests.tracking.conftest import client, empty_database, home

__all__ = ["client", "empty_database", "home"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tiny_model(tmp_path_factory.mktemp("model") / "best")
