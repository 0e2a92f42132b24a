"""A database or server that fails, is gone or refuses us."""

import logging
import math
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from werkzeug.serving import BaseWSGIServer, make_server

from pipeline.errors import UserError
from pipeline.tracking import run_map, store
from tests.tracking.runs import DIGEST, begun, evaluated, points, stored


def test_a_database_that_fails_in_mid_run_costs_one_line_and_no_training(
    client: MlflowClient, home: Path, capsys: pytest.CaptureFixture[str]
):
    def rename(old: str, new: str) -> None:
        database = sqlite3.connect(home / "mlflow.db")
        database.execute(f"ALTER TABLE {old} RENAME TO {new}")
        database.close()

    with begun() as run:
        run.metrics(1, {"train/loss": 1.0})
        rename("metrics", "gone")
        run.metrics(2, {"train/loss": 0.9, "train/learning_rate": 0.1})
        run.metrics(3, {"train/loss": 0.8})
        rename("gone", "metrics")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "no such table: metrics" in line and "untracked" in line]
    assert said[-1] == "Not in MLflow: 3 metric points."
    found = stored(client, run)
    # It is back at the end: the run is closed, and says that it has gaps.
    assert (found.info.status, found.data.tags["reprise.lost"]) == ("FINISHED", "3 metric points")


def test_what_mlflow_refuses_is_said_and_the_rest_is_kept(
    client: MlflowClient, home: Path, capsys: pytest.CaptureFixture[str]
):
    with begun() as run:
        run.dataset("n" * 600, "training", DIGEST, 1, "rows.csv")
        run.metrics(1, {"train/loss": 1.0})
    said = capsys.readouterr().err
    assert "MLflow refused 1 datasets: " in said
    assert said.endswith("Not in MLflow: 1 datasets.\n")
    assert points(client, run, "train/loss") == [(1, 1.0)]


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BaseWSGIServer]:
    """MLflow's own server over the project's database, in a thread, on a free port."""
    from mlflow import server as mlflow_server
    from mlflow.server import handlers

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


def test_a_server_takes_a_run_that_is_gone_on_with(client: MlflowClient, server: BaseWSGIServer):
    with begun() as run:
        run.metrics(1, {"train/loss": 1.0, "train/norm": math.nan})
        run.dataset("docstrings", "training", DIGEST, 1234, "rows.csv")
        run.link_model(DIGEST)
    with begun(resume=run.id) as again:
        again.metrics(1, {"train/loss": 1.0})
        again.metrics(2, {"train/loss": 0.5})
    assert evaluated(0.8).id == again.id == run.id
    assert points(client, run, "train/loss") == [(1, 1.0), (2, 0.5)]
    found = stored(client, run)
    assert found.info.status == "FINISHED"
    assert math.isnan(found.data.metrics["train/norm"])
    assert found.data.params["train.seed"] == "42"
    assert len(found.inputs.dataset_inputs) == 1


def test_a_server_that_is_gone_in_mid_run_stalls_nothing(
    client: MlflowClient, server: BaseWSGIServer, capfd: pytest.CaptureFixture[str]
):
    with begun() as run:
        run.metrics(1, {"train/loss": 1.0})
        run.link_model(DIGEST)
        server.shutdown()
        server.server_close()
        began = time.monotonic()
        for step in range(2, 102):
            run.metrics(step, {"train/loss": 1 / step})
    assert time.monotonic() - began < 15
    said = capfd.readouterr()
    warning, unfinished, lost = said.err.splitlines()
    assert warning.startswith(f"MLflow at http://127.0.0.1:{server.server_port} does not answer; going on without it")
    assert unfinished.startswith(f"MLflow was not told that run {run.id} is FINISHED.")
    assert lost == "Not in MLflow: 100 metric points."
    assert said.out == ""
    assert points(client, run, "train/loss") == [(1, 1.0)]
    # The model's run is known without the server, too.
    assert run_map.recall(DIGEST) == run.id
    assert evaluated(0.8).id is None


def test_a_server_that_never_answers_is_waited_for_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.socket() as hung:
        hung.bind(("127.0.0.1", 0))
        hung.listen()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:pa55@127.0.0.1:{hung.getsockname()[1]}")
        began = time.monotonic()
        with begun() as run:
            for step in range(100):
                run.metrics(step, {"train/loss": 1.0})
            run.link_model(DIGEST)
        assert time.monotonic() - began < 10
    assert run.id is None
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("MLflow at http://127.0.0.1:")
    assert "pa55" not in "".join(said)
    assert said[1:] == ["Not in MLflow: 100 metric points, 1 tags."]


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
        def do_GET(self) -> None:  # MLflow's first request
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"<html>Hello</html>")

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


def test_a_fault_of_ours_is_not_taken_for_one_of_mlflow(client: MlflowClient, home: Path):
    with pytest.raises(ZeroDivisionError), begun() as run:
        run._sender.send(lambda client, run: 1 / 0, {"artifacts": 1})
    assert stored(client, run).info.status == "FAILED"


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
