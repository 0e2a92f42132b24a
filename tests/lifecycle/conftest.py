"""The project folder with an MLflow database that the tests of tracking use."""

from tests.tracking.conftest import client, empty_database, home

__all__ = ["client", "empty_database", "home"]
