"""Checkpoints are written behind the training's back, from a copy, by ranks that share nothing but a folder."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoints, hold
from pipeline.training.pieces import Piece
from tests.conftest import REPOSITORY
from tests.training.test_checkpoint import assert_holds, pieces_of, save, tensors_of
from tests.training.test_pieces import chunks, same


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Writing starts when it is set."""
    opened = threading.Event()
    write = checkpoint.write

    def late(path: Path, pieces: dict[str, Piece]) -> str:
        assert opened.wait(30)
        return write(path, pieces)

    monkeypatch.setattr(checkpoint, "write", late)
    yield opened
    opened.set()


def test_what_changes_after_save_is_not_written(checkpoints: Checkpoints, gate: threading.Event) -> None:
    tensors, state = tensors_of(10), {"step": 10, "best_step": None, "window": [1.0]}
    checkpoints.save(10, pieces_of(tensors), state)
    for tensor in tensors.values():
        tensor.zero_()
    state["step"] = 11
    state["window"].clear()  # type: ignore[union-attr]
    gate.set()
    assert checkpoints.latest() == (10, {"step": 10, "best_step": None, "window": [1.0]})
    assert_holds(checkpoints, 10, tensors_of(10))


def test_save_returns_before_anything_is_written_and_the_next_one_waits(
    checkpoints: Checkpoints, gate: threading.Event
) -> None:
    checkpoints.save(10, pieces_of(tensors_of(10)), {"best_step": None})
    assert checkpoints.steps() == []
    second = threading.Thread(target=save, args=(checkpoints, 20, None))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    gate.set()
    second.join(30)
    assert checkpoints.steps() == [10, 20]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("save", (40, {}, {"best_step": 30})), ("open", (20,)), ("wait", ()), ("latest", ()), ("clear", ())],
)
def test_a_failed_write_is_raised_at_the_next_call_once(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, call: str, arguments: tuple[Any, ...]
) -> None:
    save(checkpoints, 20, best_step=None)

    def fail(path: Path, pieces: dict[str, Piece]) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "write", fail)
        checkpoints.save(30, pieces_of(tensors_of(30)), {"best_step": 30})
        with pytest.raises(OSError, match="No space left") as caught:
            getattr(checkpoints, call)(*arguments)
    assert caught.value.errno == 28
    assert_holds(checkpoints, 20, tensors_of(20))
    save(checkpoints, 30, best_step=30)
    assert checkpoints.steps() == [20, 30]


def test_leaving_finishes_what_is_being_written(folder: Path, gate: threading.Event) -> None:
    with hold("mark", 2) as checkpoints:
        checkpoints.save(10, pieces_of(tensors_of(10)), {"best_step": None})
        gate.set()
    assert checkpoints.steps() == [10]
    with pytest.raises(RuntimeError, match="mine"), hold("mark", 2) as checkpoints:  # noqa: PT012
        checkpoints.save(20, pieces_of(tensors_of(20)), {"best_step": None})
        raise RuntimeError("mine")
    assert checkpoints.steps() == [10, 20]


# Several ranks


def test_a_rank_that_is_ahead_writes_into_no_checkpoint_but_its_own(checkpoints: Checkpoints) -> None:
    # It saves the step again, and the next one, before the first rank has begun.
    other = Checkpoints(checkpoints.folder, 2)
    other.save(10, pieces_of(tensors_of(1), 1, 2), {}, rank=1, size=2)
    other.save(10, pieces_of(tensors_of(2), 1, 2), {}, rank=1, size=2)
    checkpoints.save(10, pieces_of(tensors_of(1), 0, 2), {"best_step": None}, size=2)
    checkpoints.wait()
    assert_holds(checkpoints, 10, tensors_of(1))
    other.save(20, pieces_of(tensors_of(3), 1, 2), {}, rank=1, size=2)
    checkpoints.save(10, pieces_of(tensors_of(2), 0, 2), {"best_step": None}, size=2)
    checkpoints.save(20, pieces_of(tensors_of(3), 0, 2), {"best_step": None}, size=2)
    assert_holds(checkpoints, 10, tensors_of(2))
    assert_holds(checkpoints, 20, tensors_of(3))


def test_a_rank_that_never_writes_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold("mark", 2) as checkpoints:
        save(checkpoints, 10, best_step=None)
        checkpoints.patience = 0.1
        checkpoints.save(20, pieces_of(tensors_of(20), 0, 3), {"best_step": None}, size=3)
        with pytest.raises(UserError, match=r"step 20 was not written: no word from rank 1, 2 for 0.1 seconds"):
            checkpoints.wait()
        assert checkpoints.steps() == [10]
    # An error of the training is not held up for long, nor hidden, by ranks that are gone.
    monkeypatch.setattr(checkpoint, "_LAST_PATIENCE", 0.1)
    with pytest.raises(RuntimeError, match="mine") as caught, hold("mark", 2) as checkpoints:  # noqa: PT012
        checkpoints.save(20, pieces_of(tensors_of(20), 0, 2), {"best_step": None}, size=2)
        raise RuntimeError("mine")
    assert "no word from rank 1" in caught.value.__notes__[0]
    assert checkpoints.steps() == [10]


RANK = """
import sys
from pathlib import Path
from contextlib import nullcontext
from pipeline.training.checkpoint import Checkpoints, hold
from tests.training.test_checkpoint import pieces_of, tensors_of
rank, folder = int(sys.argv[1]), Path.cwd()
with hold("mark", 9, folder) if rank == 0 else nullcontext(Checkpoints(folder / "mark", 9)) as checkpoints:
    print("ready", flush=True)
    sys.stdin.readline()  # the other rank starts when the first one holds the folder
    for step in range(1, 6):
        state = {"step": step, "best_step": None}
        checkpoints.save(step, pieces_of(tensors_of(step), rank, 2), state, rank=rank, size=2)
    checkpoints.wait()
"""


def test_two_processes_write_what_any_number_can_read(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RANK, str(rank)], stdin=-1, stdout=-1, text=True, env=environment
                )
            )
            for rank in range(2)
        ]
        for rank in ranks:
            assert rank.stdout is not None
            assert rank.stdout.readline() == "ready\n"
        for rank in ranks:
            assert rank.stdin is not None
            rank.stdin.write("go\n")
            rank.stdin.flush()
    assert [rank.returncode for rank in ranks] == [0, 0]
    checkpoints = Checkpoints(folder / "mark", 9)
    assert checkpoints.latest() == (5, {"step": 5, "best_step": None})
    for step in checkpoints.steps():
        pieces = checkpoints.open(step)
        for name, whole in tensors_of(step).items():
            assert same(pieces.read(name), whole)
            for ways in (1, 2, 3, 4) if whole.ndim else ():
                for piece in chunks(whole, ways):
                    assert same(pieces.read(name, piece.start, piece.start + len(piece.tensor)), piece.tensor)
    assert checkpoints.steps() == [1, 2, 3, 4, 5]
