"""A kill at any moment costs the steps since the last checkpoint, and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import Checkpoints, hold
from tests.conftest import REPOSITORY
from tests.training.test_checkpoint import assert_holds, save, save_by_two, tensors_of


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def die_before_call(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Die before the call of this number to whatever writes, renames or removes; half-way, where it removes."""
    calls = iter(range(1000))

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            if next(calls) == number:
                if function.__name__ == "rmtree" and Path(arguments[0]).is_dir():
                    next(Path(arguments[0]).iterdir()).unlink()
                raise Killed
            return function(*arguments, **options)

        return called

    writers = [
        (checkpoint, "write"),
        (os, "fsync"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (Path, "rename"),
        (Path, "unlink"),
    ]
    for owner, name in [*writers, (shutil, "rmtree")]:
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_kill_at_any_call_leaves_a_whole_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    write_one = save if ranks == 1 else save_by_two
    monkeypatch.setattr(checkpoint, "_LAST_PATIENCE", 0.05)
    taken_up = []
    for number in range(100):
        with hold(str(number), 2) as checkpoints:
            for step in (10, 20):
                write_one(checkpoints, step, best_step=step)
        with monkeypatch.context() as patched:
            die_before_call(number, patched)
            # A rank of two may be alive while the other one is dead: it waits, and gives up.
            patched.setattr(checkpoint, "_POLL", 0.01)
            dying = Checkpoints(checkpoints.folder, 2, patience=0.05)
            try:
                write_one(dying, 30, best_step=30)
                break
            except (Killed, UserError):
                pass
            with suppress(Killed, UserError):
                dying.wait()
        with hold(str(number), 2) as checkpoints:
            found = checkpoints.latest()
            assert found is not None
            taken_up.append(found[0])
            assert_holds(checkpoints, found[0], tensors_of(found[0]))
            write_one(checkpoints, 30, best_step=30)
            assert checkpoints.steps() == [20, 30]
    # Up to the rename the old one, from there the new one.
    assert {*taken_up} == {20, 30}
    if ranks == 1:
        assert taken_up == sorted(taken_up)


def test_a_kill_while_clearing_leaves_what_can_be_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = []
    for number in range(100):
        checkpoints = Checkpoints(tmp_path / str(number), save_total_limit=2)
        checkpoints.folder.mkdir()
        for step in (10, 20, 30):
            save(checkpoints, step, best_step=10)
        with monkeypatch.context() as patched:
            die_before_call(number, patched)
            try:
                checkpoints.clear()
                break
            except Killed:
                pass
        found = checkpoints.latest()
        left.append(found[0] if found else 0)
        checkpoints.clear()
        assert checkpoints.latest() is None
    assert left == sorted(left, reverse=True)
    assert {*left} == {30, 20, 10, 0}


# Real processes


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from pipeline.training import checkpoint
from pipeline.training.checkpoint import hold
from tests.training.test_checkpoint import assert_holds, pieces_of, save, tensors_of

def die_at(number):
    calls = iter(range(1000))
    def deadly(function):
        def called(*arguments, **options):
            if next(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return called
    for owner, name in ((os, "fsync"), (os, "unlink"), (Path, "mkdir"), (Path, "open"), (Path, "rename")):
        setattr(owner, name, deadly(getattr(owner, name)))

for number in range(100):
    if (child := os.fork()) == 0:
        with hold("mark", 2, Path.cwd()) as checkpoints:
            die_at(number)
            for step in (30, 40):
                checkpoints.save(step, pieces_of(tensors_of(step)), {"step": step, "best_step": None})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with hold("mark", 2, Path.cwd()) as checkpoints:
        found = checkpoints.latest()
        if found:
            assert_holds(checkpoints, found[0], tensors_of(found[0]))
        print(os.WTERMSIG(status), found[0] if found else 0)
        checkpoints.clear()
    assert not list(Path.cwd().iterdir())
    if status == 0:
        break
"""


def test_a_kill_in_the_midst_of_writing_costs_that_checkpoint(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    *killed, last = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert last == (0, 40)
    assert len(killed) > 20
    assert {number for number, _ in killed} == {signal.SIGKILL}
    steps = [step for _, step in killed]
    assert steps == sorted(steps)
    assert {*steps} == {0, 30, 40}


TRAINER = """
import torch
from pipeline.training.checkpoint import hold
from pipeline.training.pieces import Piece
with hold("mark", 2) as checkpoints:
    for step in range(1, 100_000):
        tensors = {"weight": Piece(torch.full((300, 300), float(step)))}
        checkpoints.save(step, tensors, {"step": step, "best_step": step})
        checkpoints.wait()
        print(step, flush=True)
"""


def test_a_second_trainer_is_refused_until_the_first_is_killed_and_then_goes_on(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", TRAINER], stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "1\n"
        with pytest.raises(UserError, match=f"process {first.pid} on {os.uname().nodename}"), hold("mark", 2):
            pass
        with hold("another experiment", 2) as checkpoints:
            assert checkpoints.latest() is None
        first.kill()
        told = [1, *map(int, first.stdout.read().split())]
    with hold("mark", 2) as checkpoints:
        found = checkpoints.latest()
        assert found is not None
        # The last one that was told may be followed by one that was not.
        assert found[0] - told[-1] in (0, 1)
        assert_holds(checkpoints, found[0], {"weight": torch.full((300, 300), float(found[0]))})


LOCKERS = """
import os
from pathlib import Path
from pipeline.errors import UserError
from pipeline.training.checkpoint import hold
children = []
for child in range(3):
    children.append(os.fork())
    if children[-1] == 0:
        held = 0
        while held < 300:
            try:
                with hold("mark", 2, Path("all")):
                    Path("inside").mkdir()  # fails if somebody else is in there
                    Path("inside").rmdir()
                    held += 1
            except UserError:
                pass
        os._exit(0)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
"""


def test_a_lock_that_is_removed_never_lets_two_in(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", LOCKERS], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list((folder / "all").iterdir()) == []
