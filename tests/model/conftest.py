"""A tiny model on disk."""

from pathlib import Path

import pytest

from tests.model.tiny import export_tiny


@pytest.fixture
def exported(folder: Path) -> Path:
    """A tiny BERT in the project's data/models/tiny."""
    return export_tiny(folder)
