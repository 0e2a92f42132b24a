"""A kill at any moment costs the steps since the last checkpoint, and nothing else."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.checkpoint import Checkpoints, hold
from tests.conftest import REPOSITORY
from tests.training.test_checkpoint import save, tensors_of


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
        (torch, "save"),
        (os, "fsync"),
        (Path, "mkdir"),
        (Path, "write_text"),
        (Path, "rename"),
        (Path, "unlink"),
    ]
    for owner, name in [*writers, (shutil, "rmtree")]:
        monkeypatch.setattr(owner, name, deadly(getattr(owner, name)))


def test_a_kill_at_any_call_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_up = []
    for number in range(100):
        checkpoints = Checkpoints(tmp_path / str(number), save_total_limit=2)
        checkpoints.folder.mkdir()
        for step in (10, 20):
            save(checkpoints, step, best_step=step)
        with monkeypatch.context() as patched:
            die_before_call(number, patched)
            try:
                save(checkpoints, 30, best_step=30)
                break
            except Killed:
                pass
        found = checkpoints.latest()
        assert found is not None
        taken_up.append(found[1]["step"])
        assert torch.equal(found[0]["model"]["weight"], tensors_of(taken_up[-1])["model"]["weight"])
        save(checkpoints, 30, best_step=30)
        assert checkpoints.steps() == [20, 30]
    # Up to the rename the old one, from there the new one.
    assert taken_up == sorted(taken_up)
    assert {*taken_up} == {20, 30}


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
        left.append(found[1]["step"] if found else 0)
        checkpoints.clear()
        assert checkpoints.latest() is None
    assert left == sorted(left, reverse=True)
    assert {*left} == {30, 20, 10, 0}


# A real second process


TRAINER = """
import torch
from pipeline.training.checkpoint import hold
with hold("mark", 2) as checkpoints:
    for step in range(1, 100_000):
        tensors = {"model": {"weight": torch.full((300, 300), float(step))}}
        checkpoints.save(step, tensors, {"step": step, "best_step": step})
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
    tensors, state = found
    # The last one that was told may be followed by one that was not.
    assert state["step"] - told[-1] in (0, 1)
    assert torch.equal(tensors["model"]["weight"], torch.full((300, 300), float(state["step"])))
