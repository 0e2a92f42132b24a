import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import webbrowser
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from pipeline.cli import ui
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.tracking import store
from pipeline.tracking.run import Run
from tests.tracking.runs import stored

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(folder: Path) -> Path:
    """A project folder without runs."""
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "params.yaml").write_text("version: 1\n")
    return folder


def call(*arguments: str) -> str:
    return CliRunner().invoke(ui.command, arguments, catch_exceptions=False, standalone_mode=False).output


def get(address: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=30) as answer:
        return answer.read()


def test_the_pages_are_served_until_ctrl_c_and_nothing_stays_behind(home: Path):
    figure = home / "confusion.png"
    figure.write_bytes(b"\x89PNG")
    with Run.start(Params(), inputs={}, device="cpu") as run:
        run.artifact(figure, "figures")
    run_id = stored(MlflowClient(f"sqlite:///{home / 'mlflow.db'}"), run).info.run_id
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "pipeline.cli", "ui"]
    with subprocess.Popen(
        command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        assert program.stdout.readline() == "Starting MLflow ...\n"
        address, _, page = program.stdout.readline().removeprefix("MLflow: ").strip().partition("/#")
        started = psutil.Process(program.pid).children(recursive=True)
        try:
            assert page == "/experiments/1/runs?compareRunsMode=CHART&workflowType=machine_learning"
            assert b"<title>MLflow</title>" in get(address)
            assert get(f"{address}/get-artifact?path=figures/confusion.png&run_uuid={run_id}") == b"\x89PNG"
            program.send_signal(signal.SIGINT)
            assert program.wait(timeout=30) == 0
        finally:
            program.kill()
        assert program.stdout.read().splitlines() == ["Ctrl-C stops it.", "MLflow's pages are closed."]
        assert program.stderr.read() == ""
    assert started
    assert not [process for process in started if process.is_running()]


def test_a_server_elsewhere_is_shown_and_none_is_started(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:pa55@host/mlflow/")
    monkeypatch.setattr(store, "find_experiment", lambda name: {"reprise": "7"}[name])
    assert call() == (
        "MLflow: https://host/mlflow/#/experiments/7/runs?compareRunsMode=CHART&workflowType=machine_learning\n"
    )


def test_a_server_elsewhere_that_does_not_answer_is_one_line(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"^MLflow at http://127\.0\.0\.1:1 does not answer\. \(.*refused\)$"):
        call()


def test_before_the_first_training_there_is_nothing_to_show(home: Path):
    with pytest.raises(UserError, match=r"no MLflow experiment 'reprise' at sqlite:.* yet\. Train first: dvc repro"):
        call()


def test_a_port_that_is_taken_is_not_shared(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "find_experiment", lambda name: "1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use"):
            call("--port", str(port))


def test_a_project_keeps_its_port_while_it_is_free(home: Path, tmp_path_factory, monkeypatch: pytest.MonkeyPatch):
    port = ui._free_port()
    assert ui._free_port() == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert ui._free_port() != port
    monkeypatch.setenv("DVC_ROOT", str(tmp_path_factory.mktemp("another")))
    assert ui._free_port() != port


def test_a_server_that_does_not_start_shows_its_last_lines(home: Path, monkeypatch: pytest.MonkeyPatch):
    program = home / "python"
    program.write_text("#!/bin/sh\nseq 20\necho no server today >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(store, "find_experiment", lambda name: "1")
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(UserError, match=r"(?s)did not start.*\n20\nno server today\nAll of them: .*mlflow-server\.log"):
        call()


def in_place_of_mlflow(home: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """A server that starts at once, answers that it is healthy, and does what `then` says."""
    code = home / "server.py"
    code.write_text(
        "import os, signal, sys, time\n"
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Healthy(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "port = int(sys.argv[sys.argv.index('--port') + 1])\n"
        "HTTPServer(('127.0.0.1', port), Healthy).handle_request()\n"
        "open('server.pid', 'w').write(str(os.getpid()))\n"
        f"{then}\n"
    )
    program = home / "python"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{code}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setattr(store, "find_experiment", lambda name: "1")
    monkeypatch.setattr(sys, "executable", str(program))


def test_a_server_that_ends_by_itself_is_noticed(home: Path, monkeypatch: pytest.MonkeyPatch):
    in_place_of_mlflow(home, monkeypatch, "sys.exit('out of memory')")
    # Where the end is not noticed, Ctrl-C comes after a while, and the command ends without an error.
    patience = threading.Timer(30, os.kill, (os.getpid(), signal.SIGINT))
    patience.start()
    try:
        with pytest.raises(UserError, match=r"(?s)ended by itself \(exit code 1\)\..*\nout of memory\nAll of them: "):
            call()
    finally:
        patience.cancel()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_way_to_stop_it_is_a_good_end(number: signal.Signals, home: Path, monkeypatch: pytest.MonkeyPatch):
    in_place_of_mlflow(home, monkeypatch, f"time.sleep(0.5); os.kill(os.getppid(), {number:d}); time.sleep(60)")
    assert call().splitlines()[-2:] == ["Ctrl-C stops it.", "MLflow's pages are closed."]
    assert not psutil.pid_exists(int((home / "server.pid").read_text()))


@pytest.mark.parametrize(
    ("terminal", "screen", "no_open", "opened"),
    [(True, True, False, True), (True, True, True, False), (False, True, False, False), (True, False, False, False)],
)
def test_a_browser_is_opened_only_where_a_person_sees_it(
    terminal: bool, screen: bool, no_open: bool, opened: bool, monkeypatch: pytest.MonkeyPatch
):
    seen: list[str] = []
    monkeypatch.setattr(webbrowser, "open", seen.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    if screen:
        monkeypatch.setenv("DISPLAY", ":0")
    ui._show("http://127.0.0.1:20001/#/", no_open)
    assert seen == (["http://127.0.0.1:20001/#/"] if opened else [])


def test_help_waits_for_no_mlflow():
    code = "import sys; from pipeline.cli import ui; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"
