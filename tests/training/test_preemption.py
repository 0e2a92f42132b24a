"""Somebody asks the training to stop, or starts it twice: what is done is kept, and whoever reads is told."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest

from pipeline.params import Params
from pipeline.training.worker import PREEMPTED
from stages.train import train
from tests.training.homes import STAGE, checkpoints_of, environment, home_of, points, processes_of, results, workers_of
from tests.training.ranks import forker

SECONDS = 300.0  # that anything may take on a busy machine
SECONDS_TO_SAVE = 7.0


class Stage:
    """`python -m stages.train` in a session of its own; what it said is in the log."""

    started: ClassVar[list["Stage"]] = []

    def __init__(self, home: Path) -> None:
        self.home, self.log = home, home / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                STAGE, cwd=home, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(self)

    def wait(self) -> tuple[int, str]:
        """How it ended, and what it said."""
        code = self.process.wait(SECONDS)
        time.sleep(1)
        assert not workers_of(self.process.pid), "a worker outlives its stage"
        return code, self.log.read_text()

    def wait_for(self, event: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not event():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.005)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that failed leaves no stage, which would train on."""
    yield
    while Stage.started:
        stage = Stage.started.pop()
        for process in processes_of(stage.process.pid):
            process.kill()
        stage.process.wait(SECONDS)


def ask(home: Path, question: str) -> list[tuple[object, ...]]:
    """Ask MLflow's database, which may not be there yet."""
    try:
        with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as database:
            return database.execute(question).fetchall()
    except sqlite3.OperationalError:
        return []


def trained(home: Path) -> int:
    """The last step of the learning curve in MLflow."""
    ((step,),) = ask(home, "select coalesce(max(step), 0) from metrics where key = 'train/loss'") or [(0,)]
    assert isinstance(step, int)
    return step


@pytest.fixture
def slow_steps(tiny_params: Params) -> Params:
    """Eight steps of many micro-batches, so that a signal comes amid one; each is a point of the curve."""
    train = tiny_params.train.model_copy(update={"num_train_epochs": 2, "global_batch_size": 50, "logging_steps": 1})
    hardware = tiny_params.hardware.model_copy(update={"micro_batch_tokens": 16, "save_steps": 1000})
    return tiny_params.model_copy(update={"train": train, "hardware": hardware})


# As a scheduler asks, another one, and Ctrl-C, which goes to all processes. Exact sums are those of one process, too.
@pytest.mark.parametrize(
    ("asked", "hardware", "alone"),
    [
        pytest.param([(signal.SIGTERM, os.kill)], {"reduce": "exact"}, 1, id="SIGTERM"),
        pytest.param(
            [(signal.SIGUSR1, os.kill), (signal.SIGINT, os.killpg)],
            {"parallel": "ddp"},
            2,
            id="others",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_training_that_is_asked_to_stop_saves_its_last_whole_step_and_goes_on_from_there(
    tokenized: Path,
    slow_steps: Params,
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[signal.Signals, Callable[[int, int], None]]],
    hardware: dict[str, Any],
    alone: int,
) -> None:
    elsewhere = tmp_path_factory.mktemp("homes")
    whole = home_of(tokenized, elsewhere / "whole", slow_steps, devices=alone, **hardware)
    forked = forker().start("stages.train", [], whole, whole / "log", environment())
    assert forker().wait(forked, SECONDS) == 0, (whole / "log").read_text()
    home = home_of(tokenized, elsewhere / "stopped", slow_steps, devices=2, **hardware)
    before = 0
    for number, send in asked:
        stage = Stage(home)
        stage.wait_for(lambda least=before + 2: trained(home) >= least)
        sent = time.monotonic()
        send(stage.process.pid, number)
        code, said = stage.process.wait(SECONDS), stage.log.read_text()
        seconds = time.monotonic() - sent
        assert code == PREEMPTED, said
        assert seconds <= SECONDS_TO_SAVE, f"{number.name}: saved and gone after {seconds:.1f} s"
        stage.wait()
        step = int(re.findall(r"step (\d+) is saved; dvc repro goes on from there", said)[0])
        assert before + 2 <= step < 8
        assert f"from the checkpoint of step {before}" in said or before == 0
        assert "Traceback" not in said
        assert ask(home, "select status from runs") == [("KILLED",)]
        before = step
    code, said = Stage(home).wait()
    assert code == 0, said
    assert f"from the checkpoint of step {before}" in said
    assert results(home) == results(whole)
    assert points(home) == points(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a dead process")
def test_workers_that_still_import_die_with_the_launcher(
    tokenized: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stage = Stage(home_of(tokenized, tmp_path_factory.mktemp("homes") / "killed", tiny_params, devices=2))
    stage.wait_for(lambda: len(importing(stage)) == 2)
    stage.process.kill()
    assert stage.wait()[0] == -signal.SIGKILL


def importing(stage: Stage) -> list[int]:
    """The workers that have begun to import torch, which takes them seconds."""
    found = []
    for worker in workers_of(stage.process.pid):
        with suppress(psutil.NoSuchProcess):
            found += [worker.pid] * any("libtorch" in file.path for file in worker.memory_maps())
    return found


def test_a_second_trainer_of_the_same_experiment_is_told_who_holds_it_and_harms_nothing(
    tokenized: Path, slow_steps: Params, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("homes")
    home = home_of(tokenized, elsewhere / "shared", slow_steps)
    first = Stage(home)
    first.wait_for(lambda: trained(home) >= 1)
    first.process.send_signal(signal.SIGSTOP)  # it trains as long as it takes the other one to come
    home_of(tokenized, home, slow_steps, devices=2)
    second = subprocess.run(
        STAGE, cwd=home, env=environment(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    first.process.send_signal(signal.SIGCONT)
    assert second.returncode == 1
    assert f"train: The same experiment is being trained already, by process {first.process.pid} on" in second.stderr
    assert "Traceback" not in second.stdout + second.stderr
    code, said = first.wait()
    assert code == 0, said
    whole = home_of(tokenized, elsewhere / "whole", slow_steps)
    monkeypatch.chdir(whole)
    train(slow_steps)
    assert results(home) == results(whole)
    assert points(home) == points(whole)
    assert checkpoints_of(home, "finished")
