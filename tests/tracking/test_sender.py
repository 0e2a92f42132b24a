"""The process that sends: a database or server that fails or is gone, and how runs end."""

import os
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from werkzeug.serving import BaseWSGIServer, make_server

from pipeline.tracking import forward, journal, run_map, sender, sending, store, sync
from pipeline.tracking.run import Run
from tests.tracking.conftest import start
from tests.tracking.runs import DIGEST, begun, evaluated, points, stored


def wait_for(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


def is_(client: MlflowClient, run: Run, status: str) -> bool:
    """Whether MLflow has the run with this status by now: a busy machine may take longer than a run waits for it."""
    try:
        return stored(client, run).info.status == status
    except AssertionError:
        return False


def senders() -> list[psutil.Process]:
    """Those of this process."""
    return [child for child in psutil.Process().children() if "pipeline.tracking.sender" in child.cmdline()]


def test_a_run_is_sent_while_it_goes_on_with_what_the_machine_does(
    client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with begun() as run:
        wait_for(lambda: is_(client, run, "RUNNING"))
        run.metrics(1, {"train/loss": 1.0})
        wait_for(lambda: points(client, run, "train/loss") and points(client, run, "system/cpu_utilization_percentage"))
        run.metrics(2, {"train/loss": 0.5})
    assert points(client, run, "train/loss") == [(1, 1.0), (2, 0.5)]
    assert stored(client, run).info.status == "FINISHED"
    assert journal.pending() == []
    assert senders() == []


def test_a_sender_that_imports_ahead_is_that_of_the_run_and_does_not_outlive_the_block(
    client: MlflowClient, home: Path
):
    with sending.ahead():
        (early,) = senders()
        with begun() as run:
            assert senders() == [early]
            run.metrics(1, {"train/loss": 1.0})
        wait_for(lambda: is_(client, run, "FINISHED"))
        assert points(client, run, "train/loss") == [(1, 1.0)]
    with sending.ahead():
        (unused,) = senders()
        assert unused.pid != early.pid
    assert senders() == []
    assert not unused.is_running()


def test_a_database_that_fails_in_mid_run_loses_nothing(
    client: MlflowClient, home: Path, capfd: pytest.CaptureFixture[str]
):
    def rename(old: str, new: str) -> None:
        database = sqlite3.connect(home / "mlflow.db")
        database.execute(f"ALTER TABLE {old} RENAME TO {new}")
        database.close()

    said = ""
    with begun() as run:
        wait_for(lambda: is_(client, run, "RUNNING"))
        rename("metrics", "gone")
        run.metrics(1, {"train/loss": 0.9, "train/learning_rate": 0.1})
        while "no such table: metrics" not in said:
            said += capfd.readouterr().err
            time.sleep(0.05)
        rename("gone", "metrics")
    (line,) = said.splitlines()
    assert "does not answer; the run goes on, and is sent when it does." in line
    assert points(client, run, "train/learning_rate") == [(1, 0.1)]
    assert stored(client, run).info.status == "FINISHED"


def test_a_sender_that_is_killed_goes_on_and_a_killed_run_takes_it_along(client: MlflowClient, home: Path):
    code = """
from pipeline.params import Params
from pipeline.tracking.run import Run
with Run.start(Params(), inputs={}, device="cpu") as run:
    print(run.id, flush=True)
    for step, line in enumerate(sys.stdin):
        run.metrics(step, {"train/loss": 1.0})
"""
    program = start(code, home)
    assert program.stdin is not None and program.stdout is not None

    def of_the_program() -> list[psutil.Process]:
        return psutil.Process(program.pid).children()

    def told(step: int) -> bool:
        return (step, 1.0) in points(client, run, "train/loss")

    run = Run(journal.of(program.stdout.readline().strip()), log_model=False)
    wait_for(lambda: is_(client, run, "RUNNING"))
    (first,) = of_the_program()
    first.kill()
    program.stdin.write("\n")
    program.stdin.flush()
    wait_for(lambda: told(0))
    (second,) = of_the_program()
    assert second.pid != first.pid
    program.kill()
    program.communicate()
    wait_for(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE)
    assert stored(client, run).info.status == "RUNNING"
    # The next run closes it, and goes on meanwhile.
    with begun():
        wait_for(lambda: is_(client, run, "KILLED"))
    assert journal.pending() == []


def test_a_server_that_is_gone_in_mid_run_costs_no_metric(
    client: MlflowClient,
    server: BaseWSGIServer,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    with begun() as run:
        run.metrics(1, {"train/loss": 1.0})
        run.link_model(DIGEST)
        wait_for(lambda: run_map.recall(DIGEST))
        server.shutdown()
        server.server_close()
        for step in range(2, 102):
            run.metrics(step, {"train/loss": 1 / step})
    (kept,) = (line for line in capfd.readouterr().err.splitlines() if "Not in MLflow" in line)
    assert f"http://127.0.0.1:{server.server_port} yet: 1" in kept
    assert "refused" in kept
    assert kept.endswith("They are kept; send them when it answers: reprise sync")
    evaluation = evaluated(0.8)
    assert [left.id for left in journal.pending()] == [run.id, evaluation.id]
    again = make_server("127.0.0.1", server.server_port, server.app, threaded=True)
    threading.Thread(target=again.serve_forever, daemon=True).start()
    try:
        sync.send_all(sync.left().journals, lambda sent: None)
    finally:
        again.shutdown()
        again.server_close()
    assert points(client, run, "train/loss") == [(step, 1 / step) for step in range(1, 102)]
    # It waited for its turn, behind the training that it belongs to.
    assert stored(client, evaluation).info.run_id == stored(client, run).info.run_id
    assert points(client, run, "test/accuracy") == [(0, 0.8)]


def test_a_server_that_never_answers_is_not_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:pa55@127.0.0.1:{hung.getsockname()[1]}")
        with begun() as run:
            run.metrics(1, {"train/loss": 1.0})
        (left,) = journal.pending()
        assert (left.id, left.closed()) == (run.id, True)
    said = capfd.readouterr().err
    assert "does not answer; the run goes on" in said
    written = "".join(path.read_text() for path in left.folder.rglob("*") if path.is_file())
    assert "pa55" not in said + written


def test_a_server_that_is_always_slow_is_given_more_time(home: Path, monkeypatch: pytest.MonkeyPatch):
    class Slow:
        def __init__(self, *values: object) -> None:
            pass

        def forward(self) -> None:
            waited.append(int(os.environ[store.TIMEOUT]))
            if waited[-1] < 20:
                raise store.Unreachable("timed out")
            slow._closing = True

    waited: list[int] = []
    slow = sender._Sender(journal.new(), lambda: None)
    slow._journal.folder.mkdir(parents=True)
    monkeypatch.setattr(sender._Sender, "_rest", lambda self, seconds: None)
    monkeypatch.setattr(sender._Sender, "_send_others", lambda self, client: None)
    monkeypatch.setattr(sync, "connected", lambda journal: None)
    monkeypatch.setattr(forward, "Forwarder", Slow)
    monkeypatch.setenv(store.TIMEOUT, store.IMPATIENCE[store.TIMEOUT])
    slow.run()
    assert waited[:4] == [3, 6, 12, 24]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143)])
def test_signals_end_a_real_run_as_killed(client: MlflowClient, home: Path, number: int, code: int):
    program = start(
        """
import signal, time
from pipeline.params import Params
from pipeline.tracking.run import Run
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
with Run.start(Params(), inputs={}, device="cpu") as run:
    print(run.id, flush=True)
    time.sleep(60)
""",
        home,
    )
    assert program.stdout is not None
    run = Run(journal.of(program.stdout.readline().strip()), log_model=False)
    wait_for(lambda: is_(client, run, "RUNNING"))
    program.send_signal(number)
    program.communicate(timeout=60)
    assert program.returncode == code
    assert stored(client, run).info.status == "KILLED"


@pytest.mark.parametrize(
    ("error", "foreign"),
    [
        (MlflowException("no"), True),
        (sqlalchemy.exc.OperationalError("select", {}, ValueError()), True),
        (FileNotFoundError("no"), True),
        (TypeError("unexpected keyword"), False),
        (KeyError("name"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_mlflow_and_its_ways_raise_is_told_from_what_we_do_wrong(error: Exception, foreign: bool):
    assert store.is_foreign(error) == foreign
