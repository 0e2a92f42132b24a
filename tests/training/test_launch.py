"""Launches of real processes. Each costs the import of torch in every process: hence few, and several ends in one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import psutil
import pytest

from pipeline.errors import UserError
from pipeline.training import launch, worker
from pipeline.training.worker import PREEMPTED, End

T = TypeVar("T")

# Not from tests.conftest: the workers import this module, and that one imports much.
REPOSITORY = Path(__file__).parents[2]
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OF_OURS")
SECONDS = 120.0  # that anything may take on a busy machine


# What the workers do


def write(folder: Path, **values: object) -> None:
    """What this rank has to say, visible to the test at once or not at all."""
    unfinished = folder / f"unfinished.{os.environ['RANK']}"
    unfinished.write_text(json.dumps(values))
    unfinished.rename(folder / f"rank-{os.environ['RANK']}.json")


def leave_well(folder: Path, text: str) -> None:
    sys.exit(0)


def mistake(folder: Path, text: str) -> None:
    raise UserError("train.csv, line 3: this is wrong.\nMend it.")


def break_in_one(folder: Path, text: str) -> None:
    """Rank 1 breaks when rank 0 is done, which left a handler that ends nothing."""
    if os.environ["RANK"] == "0":
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        write(folder, done=True)
        return
    wait_for(lambda: list(folder.glob("rank-0.json")))
    write(folder, broken=True)
    raise ValueError("broken")


def start_over(folder: Path, text: str) -> None:
    """Rank 1 needs a second start, and rank 0 hears of it while it waits."""
    if (folder / "started").exists():
        return
    if os.environ["RANK"] == "1":
        (folder / "started").touch()
        sys.exit(worker.AGAIN)
    time.sleep(SECONDS)


def be_killed(folder: Path, text: str) -> None:
    """Rank 1 dies; rank 0 saves when it is told to end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(PREEMPTED))
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(SECONDS)


def listen(folder: Path, text: str) -> None:
    """Note every signal; end as preempted, a while after all three were heard."""
    heard: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(signal.Signals(number).name)
        say()

    def say() -> None:
        write(folder, pid=os.getpid(), heard=heard, text=text, **{name: os.environ[name] for name in PLACE})

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, note)
    say()
    wait_for(lambda: {*heard} == {"SIGTERM", "SIGUSR1", "SIGINT"})
    time.sleep(2)
    sys.exit(PREEMPTED)


# How the test sees it

DRIVER = """
import signal, sys
from pathlib import Path
from pipeline.training import launch
from tests.training import test_launch
folder, workers, *entries = sys.argv[1:]
for entry in entries:
    try:
        launch.run(getattr(test_launch, entry), (Path(folder), "${local_rank}"), int(workers), {"OF_OURS": "1"})
        end = "returned"
    except BaseException as error:
        if len(entries) == 1:
            raise
        end = f"{type(error).__name__}: {error}"
    (Path(folder) / entry).touch()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not signal.pthread_sigmask(signal.SIG_BLOCK, [])
    for stream in (sys.stdout, sys.stderr):
        print(end if stream is sys.stdout else "", end="\\n---\\n", file=stream, flush=True)
"""


@contextmanager
def driven(folder: Path, workers: int, *entries: str) -> Iterator[subprocess.Popen[str]]:
    """A launcher in a process group of its own, with the entries one after the other."""
    command = [sys.executable, "-c", DRIVER, str(folder), str(workers), *entries]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    environment = {name: value for name, value in environment.items() if name not in PLACE}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as launcher:
        try:
            yield launcher
        finally:
            launcher.kill()


def wait_for(condition: Callable[[], T], launcher: subprocess.Popen[str] | None = None) -> T:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert launcher is None or launcher.poll() is None, launcher.communicate()
        if met := condition():
            return met
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def told(folder: Path, workers: int, launcher: subprocess.Popen[str] | None = None) -> list[dict[str, Any]]:
    """What the ranks have to say, once all have."""
    wait_for(lambda: len(list(folder.glob("rank-*.json"))) == workers, launcher)
    files = sorted(folder.glob("rank-*.json"))
    return [json.loads(file.read_text()) for file in files]


def workers_of(launcher: subprocess.Popen[str]) -> list[psutil.Process]:
    """Those that have been started as Python programs: before that, they are copies of the launcher."""
    children = psutil.Process(launcher.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Workers of our own


def test_how_workers_end_is_how_the_launcher_ends(tmp_path: Path) -> None:
    entries = ("leave_well", "start_over", "mistake", "break_in_one", "be_killed")
    with driven(tmp_path, 2, *entries) as launcher:
        told = [text.split("\n---\n") for text in launcher.communicate(timeout=SECONDS)]
    ends, shown = (dict(zip((*entries, ""), texts, strict=True)) for texts in told)

    assert (ends["leave_well"], shown["leave_well"]) == ("returned", "")
    assert (ends["start_over"], shown["start_over"]) == ("returned", "")
    # Not once a worker: whoever called shows it.
    assert (ends["mistake"], shown["mistake"]) == ("UserError: train.csv, line 3: this is wrong.\nMend it.", "")
    # The one that was done ends at once with the other, and the traceback is that of the worker alone.
    assert (tmp_path / "break_in_one").stat().st_mtime - (tmp_path / "rank-1.json").stat().st_mtime < 20
    assert ends["break_in_one"] == "SystemExit: 1"
    assert shown["break_in_one"].count("Traceback") == shown["break_in_one"].count("ValueError: broken") == 1
    assert (ends["be_killed"], shown["be_killed"]) == ("SystemExit: 1", "Worker 1 of 2 was killed by SIGKILL.\n")


AGAIN = RuntimeError("all start again")


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ([End(1), End(2)], None),
        ([End(1, 75), End(2, 75), End(3, 75)], SystemExit(75)),
        ([End(1, 75), End(2)], SystemExit(75)),
        # The first error is the cause, and preemption is none.
        ([End(1, worker.AGAIN), End(2, 75), None], AGAIN),
        ([End(1, 75), End(4, 8), End(3, 7)], SystemExit(7)),
        ([End(9, 1, "UserError", "late"), End(5, 1, "UserError", "early")], UserError("early")),
        ([End(9, 1, "UserError", "late"), End(5, 3)], SystemExit(3)),
        ([End(2, 1, "OSError", "No space left on device", 28), None], OSError(28, "No space left on device")),
        # One that left tore the connection of another, which told of that before.
        ([End(9, 1, "UserError", "cause"), End(5, 1, traceback="Traceback: connection closed")], UserError("cause")),
        # Saved by some is not saved by all.
        ([End(1, 75), None], SystemExit(1)),
        ([None, None], SystemExit(1)),
    ],
)
def test_what_several_ends_come_to(ends: list[Any], error: BaseException | None) -> None:
    found = {rank: end for rank, end in enumerate(ends) if end is not None}
    if error is None or error is AGAIN:
        assert launch._is_done(found, {}, len(ends)) is (error is None)
        return
    with pytest.raises(type(error)) as raised:
        launch._is_done(found, {}, len(ends))
    assert (type(raised.value), raised.value.args) == (type(error), error.args)


def test_the_traceback_of_a_mistake_is_kept_for_who_debugs() -> None:
    with pytest.raises(UserError) as raised:
        launch._is_done({0: End(1, 1, "UserError", "wrong", traceback="Traceback: of the worker")}, {}, 1)
    assert raised.value.__notes__ == ["In the worker:\nTraceback: of the worker"]


def test_three_workers_know_their_place_and_hear_every_signal_to_the_launcher(tmp_path: Path) -> None:
    with driven(tmp_path, 3, "listen") as launcher:
        ranks = told(tmp_path, 3, launcher)
        assert [rank["RANK"] for rank in ranks] == ["0", "1", "2"] == [rank["LOCAL_RANK"] for rank in ranks]
        assert {rank["WORLD_SIZE"] for rank in ranks} == {"3"}
        assert {(rank["MASTER_ADDR"], rank["text"], rank["OF_OURS"]) for rank in ranks} == {
            ("localhost", "${local_rank}", "1")
        }
        assert len({rank["MASTER_PORT"] for rank in ranks}) == 1
        for number, heard in ((signal.SIGTERM, 1), (signal.SIGUSR1, 2)):
            launcher.send_signal(number)
            wait_for(lambda heard=heard: all(len(rank["heard"]) == heard for rank in told(tmp_path, 3)), launcher)
        os.killpg(launcher.pid, signal.SIGINT)  # Ctrl-C goes to all of them
        out, err = launcher.communicate(timeout=SECONDS)
        assert (launcher.returncode, out, err) == (PREEMPTED, "", "")
    for rank in told(tmp_path, 3):
        # Each once, but for elastic's own, which follows when another worker has ended.
        assert rank["heard"][:3] == ["SIGTERM", "SIGUSR1", "SIGINT"]
        assert {*rank["heard"][3:]} <= {"SIGTERM"}


def test_a_signal_to_all_that_comes_while_workers_still_import_is_not_lost(tmp_path: Path) -> None:
    with driven(tmp_path, 2, "listen") as launcher:
        wait_for(lambda: len(workers_of(launcher)) == 2, launcher)
        os.killpg(launcher.pid, signal.SIGINT)
        out, err = launcher.communicate(timeout=SECONDS)
        assert (launcher.returncode, out, err) == (PREEMPTED, "", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a dead process")
def test_a_killed_launcher_leaves_no_worker(tmp_path: Path) -> None:
    with driven(tmp_path, 2, "listen") as launcher:
        workers = [rank["pid"] for rank in told(tmp_path, 2, launcher)]
        assert all(alive(pid) for pid in workers)
        launcher.kill()
        time.sleep(1)
        assert not any(alive(pid) for pid in workers)


# This process as the worker


def test_one_worker_is_this_process_and_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pipeline.training import launch\n"
        "launch.run(lambda *values: print(os.environ['OF_OURS'], *values), (1, 2), 1, {'OF_OURS': 'set'})\n"
        "print('OF_OURS' in os.environ, 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in PLACE}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set 1 2\nFalse False\n"
