"""Checkpoints are kept until DVC has recorded the results, and told of when nobody needs them."""

from pathlib import Path

import pytest

from pipeline.training import leftovers
from pipeline.training.checkpoint import hold
from tests.training.test_checkpoint import save


def finished(mark: str, locked: str | None) -> Path:
    """The folder of a training that has saved step 10, and was finished while DVC had recorded `locked`."""
    with hold(mark, 2) as checkpoints:
        save(checkpoints, 10, best_step=10)
        if locked is not None:
            checkpoints.finish(locked)
        return checkpoints.folder


@pytest.mark.parametrize(("before", "now", "left"), [("a", "b", False), ("a", "a", True), (None, "a", True)])
def test_only_a_finished_training_whose_results_are_recorded_is_cleared(
    folder: Path, before: str | None, now: str, left: bool
) -> None:
    at = finished("mark", before)
    leftovers.clear("mark", now)
    assert at.exists() == left


def test_checkpoints_that_are_held_stay(folder: Path) -> None:
    at = finished("mark", "a")
    with hold("mark", 2) as checkpoints:
        leftovers.clear("mark", "b")
        assert checkpoints.steps() == [10]
    leftovers.clear("mark", "b")
    assert not at.exists()


def test_where_there_are_no_checkpoints_nothing_is_made(folder: Path) -> None:
    leftovers.clear("mark", "a")
    assert leftovers.others("mark") is None
    assert list(folder.iterdir()) == []


def test_what_is_cleared_is_not_taken_for_finished_again(folder: Path) -> None:
    finished("mark", "a")
    with hold("mark", 2) as checkpoints:
        assert checkpoints.notes.recorded("b")
        checkpoints.clear()
        assert not checkpoints.notes.recorded("b")


def test_other_experiments_that_nobody_trains_are_counted(folder: Path) -> None:
    for mark in ("own", "one", "two"):
        with (finished(mark, None) / "ballast").open("wb") as file:
            file.truncate(2**30)
    assert (said := leftovers.others("own")) is not None
    assert "checkpoints of 2 other experiments (2.00 GiB)" in said
    with hold("one", 2):
        assert (said := leftovers.others("own")) is not None
        assert "checkpoints of 1 other experiment (1.00 GiB)" in said
        with hold("two", 2):
            assert leftovers.others("own") is None
