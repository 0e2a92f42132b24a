"""`kill -9` at random, of the launcher or of a worker: nothing is lost, nothing told twice, nobody left behind."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Params
from tests.training.homes import checkpoints_of, environment, home_of, points, results, workers_of
from tests.training.ranks import forker

pytestmark = pytest.mark.slow

SECONDS = 300.0  # that anything may take on a busy machine
SECONDS_TO_DIE = 1.0
# What is run, and how often it is killed: 106 times in all. A worker's start costs most of the time.
SETTINGS: dict[str, tuple[dict[str, Any], int]] = {
    "1": ({}, 76),
    "2-ddp": ({"devices": 2, "parallel": "ddp"}, 8),
    "2-fsdp": ({"devices": 2, "parallel": "fsdp"}, 8),
    "4-ddp": ({"devices": 4, "parallel": "ddp"}, 3),
    "4-fsdp": ({"devices": 4, "parallel": "fsdp"}, 3),
    # Every start with another number of processes: that, too, changes no bit.
    "1-2-4-exact": ({"reduce": "exact"}, 8),
}


@dataclass
class Ends:
    """What became of the starts of a stage."""

    starts: int = 0
    kills: Counter[str] = field(default_factory=Counter)


def wait_for(event: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not event():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.0005)


def start(home: Path) -> int:
    """The stage, forked."""
    return forker().start("stages.train", [], home, home / "log", environment())


def run(home: Path) -> tuple[float, float]:
    """Let the stage end by itself; the seconds until it held the checkpoints, and from there on."""
    begun = time.monotonic()
    is_training = holds(home)
    process = start(home)
    wait_for(is_training, "the training begins")
    training = time.monotonic()
    code: list[int | None] = []
    wait_for(lambda: code.append(forker().ended(process)) or code[-1] is not None, "the stage ends")
    assert code[-1] == 0, (home / "log").read_text()
    return training - begun, time.monotonic() - training


def holds(home: Path) -> Callable[[], bool]:
    """Whether a process that starts after this call holds the checkpoints."""
    now = time.time_ns()
    return lambda: any(lock.stat().st_mtime_ns > now for lock in checkpoints_of(home, "lock"))


def instant(draw: random.Random, home: Path, before: float, training: float) -> tuple[str, Callable[[], bool]]:
    """A random instant in the life of a stage that starts now: anywhere, while it trains, or while it writes."""
    begun, is_training = time.monotonic(), holds(home)
    kind = draw.choices(["anywhere", "training", "writing"], [2, 4, 4])[0]
    wait, number = draw.random(), draw.randint(1, 4)
    if kind == "anywhere":
        return kind, lambda: time.monotonic() - begun >= wait * (before + training)
    if kind == "training":
        since: list[float] = []

        def trained() -> bool:
            if not since and is_training():
                since.append(time.monotonic())
            return bool(since) and time.monotonic() - since[0] >= wait * training

        return kind, trained
    seen: set[str] = set()

    def writing() -> bool:
        if is_training():
            seen.update(path.name for path in checkpoints_of(home, "unfinished-[0-9]*"))
        return len(seen) >= number

    return kind, writing


def start_and_kill(draw: random.Random, home: Path, times: tuple[float, float], ends: Ends) -> bool:
    """Start the stage and kill it, or one of its workers, unless it ends before that; whether it ended well."""
    kind, is_due = instant(draw, home, *times)
    ends.starts += 1
    stage = start(home)
    code: list[int | None] = []
    wait_for(lambda: code.append(forker().ended(stage)) or code[-1] is not None or is_due(), "the instant comes")
    if code[-1] is None:
        workers = [worker.pid for worker in workers_of(stage)]
        aimed = draw.choice(workers) if workers and draw.random() < 0.6 else stage
        try:
            os.kill(aimed, signal.SIGKILL)
        except ProcessLookupError:
            pass
        else:
            torn = ", torn" if checkpoints_of(home, "unfinished-[0-9]*") else ""
            ends.kills[f"{'stage' if aimed == stage else 'worker'}, {kind}{torn}"] += 1
        wait_for(lambda: code.append(forker().ended(stage)) or code[-1] is not None, "the stage ends after a kill")
        time.sleep(SECONDS_TO_DIE)
    assert not workers_of(stage), "a worker outlives its stage"
    assert code[-1] in (0, 1, 75, -signal.SIGKILL), (home / "log").read_text()
    return code[-1] == 0


@pytest.mark.parametrize("name", SETTINGS)
def test_kills_at_random_change_no_bit_and_lose_no_metric(
    tokenized: Path, tiny_params: Params, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    hardware, kills = SETTINGS[name]
    draw, elsewhere, ends = random.Random(f"kills {name}"), tmp_path_factory.mktemp("homes"), Ends()
    asked = {"save_steps": 3, **hardware}
    whole = home_of(tokenized, elsewhere / "whole", tiny_params, **asked)
    times = run(whole)
    expected = results(whole), points(whole)
    assert len(expected[0]) > 4 and ("train/loss", 39) in expected[1]
    for number in count():
        home = elsewhere / f"{number}"
        while True:
            devices = {"devices": draw.choice([1, 2, 4])} if name.endswith("exact") else {}
            home_of(tokenized, home, tiny_params, **asked, **devices)
            if ends.kills.total() == kills:
                run(home)
                break
            if start_and_kill(draw, home, times, ends):
                break
        assert (results(home), points(home)) == expected, (home / "log").read_text()
        assert checkpoints_of(home, "finished"), "they are kept until DVC has recorded the results"
        if ends.kills.total() == kills:
            break
    print(f"{name}: {ends.starts} starts, {number + 1} trainings, kills: {dict(ends.kills)}")
    assert kills < 50 or any("torn" in kind for kind in ends.kills), "no kill fell into the writing of a checkpoint"
