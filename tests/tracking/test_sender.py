"""The process that sends: a database or server that fails, is gone or refuses us, and how runs end."""

import logging
import os
import signal
import socket
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import psutil
import pytest
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from werkzeug.serving import BaseWSGIServer, make_server

from pipeline.errors import UserError
from pipeline.tracking import forward, journal, run_map, sender, store, sync
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
    assert not [child for child in psutil.Process().children() if "pipeline.tracking.sender" in child.cmdline()]


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

    def senders() -> list[psutil.Process]:
        return psutil.Process(program.pid).children()

    def told(step: int) -> bool:
        return (step, 1.0) in points(client, run, "train/loss")

    run = Run(journal.of(program.stdout.readline().strip()), log_model=False)
    wait_for(lambda: is_(client, run, "RUNNING"))
    (first,) = senders()
    first.kill()
    program.stdin.write("\n")
    program.stdin.flush()
    wait_for(lambda: told(0))
    (second,) = senders()
    assert second.pid != first.pid
    program.kill()
    program.communicate()
    wait_for(lambda: not second.is_running() or second.status() == psutil.STATUS_ZOMBIE)
    assert stored(client, run).info.status == "RUNNING"
    # The next run closes it, and goes on meanwhile.
    with begun():
        wait_for(lambda: is_(client, run, "KILLED"))
    assert journal.pending() == []


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseWSGIServer]:
    """MLflow's own server over the project's database, in a thread, on a free port."""
    from mlflow import server as mlflow_server
    from mlflow.server import handlers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_module("starlette.middleware.wsgi")  # the server does, at a search of runs, and it warns of itself
    monkeypatch.setenv(mlflow_server.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{home / 'mlflow.db'}")
    monkeypatch.setenv(mlflow_server.ARTIFACT_ROOT_ENV_VAR, str(home / "kept"))
    monkeypatch.setattr(handlers, "_tracking_store", None)
    # It would make the database the address for everything in this process.
    monkeypatch.setattr(handlers.utils, "set_tracking_uri", lambda uri: None)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    made = make_server("127.0.0.1", 0, mlflow_server.app, threaded=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{made.server_port}")
    yield made
    made.shutdown()
    made.server_close()


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
            sending._closing = True

    waited: list[int] = []
    sending = sender._Sender(journal.new(), lambda: None)
    sending._journal.folder.mkdir(parents=True)
    monkeypatch.setattr(sender._Sender, "_rest", lambda self, seconds: None)
    monkeypatch.setattr(sender._Sender, "_send_others", lambda self, client: None)
    monkeypatch.setattr(sync, "connected", lambda journal: None)
    monkeypatch.setattr(forward, "Forwarder", Slow)
    monkeypatch.setenv(store.TIMEOUT, store.IMPATIENCE[store.TIMEOUT])
    sending.run()
    assert waited[:4] == [3, 6, 12, 24]


def test_a_login_that_may_only_read_is_an_error_before_training(
    server: BaseWSGIServer, home: Path, monkeypatch: pytest.MonkeyPatch
):
    serve = server.app

    def reads_only(environ: dict[str, str], start_response: Callable[..., object]) -> object:
        if not environ["PATH_INFO"].endswith("/runs/create"):
            return serve(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [b'{"error_code": "PERMISSION_DENIED", "message": "may not write"}']

    monkeypatch.setattr(server, "app", reads_only)
    with pytest.raises(UserError, match=r"does not let it write to this experiment .*may not write"):
        begun()
    assert journal.pending() == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (401, "refuses this login"),
        (403, "refuses this login"),
        (404, "is no MLflow server"),
        (200, "is no MLflow server"),
    ],
)
def test_a_server_that_refuses_us_is_an_error_before_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
):
    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"<html>Hello</html>")

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(UserError, match=said):
                begun()
        finally:
            server.shutdown()


def test_a_server_of_mlflow_2_is_an_error_before_training(folder: Path, monkeypatch: pytest.MonkeyPatch):
    class Old(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"2.22.1" if self.path == "/version" else b"{}")

        def log_message(self, format: str, *values: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Old) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(UserError, match=r"is MLflow 2\.22\.1, and this needs 3 or newer"):
                begun()
        finally:
            server.shutdown()
    assert list((folder / ".reprise" / "journal").iterdir()) == [], "a run that never began leaves nothing"


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
