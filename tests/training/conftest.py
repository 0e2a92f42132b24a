"""Checkpoints for the tests of this folder."""

from pathlib import Path

import pytest

from pipeline.training.checkpoint import Checkpoints
from tests.training.test_checkpoint import save_by_two


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path, save_total_limit=2)


@pytest.fixture
def two(checkpoints: Checkpoints) -> Checkpoints:
    """Steps 10 and 20, each the best of its time, written by two ranks."""
    save_by_two(checkpoints, 10, best_step=10)
    save_by_two(checkpoints, 20, best_step=20)
    return checkpoints
