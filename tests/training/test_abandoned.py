from pathlib import Path

from pipeline.training import abandoned
from pipeline.training.checkpoint import Checkpoints, hold


def saved(mark: str, run: str | None, locked: str | None = None) -> Path:
    with hold(mark, 2) as checkpoints:
        checkpoints.save(1, {}, {"best_step": None})
        checkpoints.notes.run_id = run
        if locked is not None:
            checkpoints.finish(locked)
        return checkpoints.folder


def test_those_that_nobody_holds_are_found_and_removed(folder: Path):
    assert abandoned.find("now") == []
    open_, done = saved("a", "run-a"), saved("b", None, locked="before")
    waiting = saved("c", "run-c", locked="now")
    with hold("d", 2) as held:
        held.save(1, {}, {"best_step": None})
        held.wait()
        assert abandoned.find("now") == [
            abandoned.Abandoned(open_, "run-a", False),
            abandoned.Abandoned(done, None, True),
            abandoned.Abandoned(waiting, "run-c", False),
        ]
        abandoned.remove(held.folder)
        assert Checkpoints(held.folder, 1).steps() == [1], "its holder has it still"
    abandoned.remove(open_)
    assert not open_.exists()
    assert [found.folder for found in abandoned.find("now")] == [done, waiting, held.folder]
