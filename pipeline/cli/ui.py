"""`reprise ui`: MLflow in the browser, on the charts of this experiment's training runs."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from pipeline import params_file, project
from pipeline.errors import UserError

_HOST = "127.0.0.1"
# Below the ports that systems give to programs that ask for any.
_FIRST_PORT, _PORTS = 20_000, 10_000
_START_SECONDS = 120
_STOP_SECONDS = 5
_LOG_LINES_SHOWN = 5


@click.command("ui")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the local server; a free one by default.")
@click.option("--no-open", is_flag=True, help="Print the address, open no browser.")
def command(port: int | None, no_open: bool) -> None:
    """Open MLflow on the charts of this project's training runs."""
    # Imported here: MLflow takes seconds, and `reprise --help` should not.
    from pipeline.tracking import store

    uri = store.tracking_uri()
    page = _page(params_file.read(project.PARAMS).tracking.experiment_name)
    if store.is_server(uri):
        _show(f"{store.shown()}{page}", no_open)
        return
    with _stopped_by_signals(), _server(uri, store.artifacts(), port or _free_port()) as (address, process):
        _show(f"{address}{page}", no_open)
        click.echo("Ctrl-C stops it.")
        # Only a signal is a good end: it leaves this block from within `wait`.
        raise _failure(f"MLflow's server ended by itself (exit code {process.wait()})")


def _page(experiment_name: str) -> str:
    """The part of the address that opens the experiment's charts; a bare one opens MLflow's page for other uses."""
    from pipeline.tracking import store

    experiment = store.find_experiment(experiment_name)
    if experiment is None:
        raise UserError(
            f"There is no MLflow experiment '{experiment_name}' at {store.shown()} yet. Train first: dvc repro"
        )
    return f"/#/experiments/{experiment}/runs?compareRunsMode=CHART&workflowType=machine_learning"


def _show(address: str, no_open: bool) -> None:
    click.echo(f"MLflow: {address}")
    # On a machine without a screen, webbrowser would start a text browser in this terminal.
    screen = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if not no_open and screen and sys.stdout.isatty():
        webbrowser.open(address)


def _free_port() -> int:
    """A port that is the project's own if it is free: the browser keeps what was arranged in MLflow by address."""
    preferred = _FIRST_PORT + zlib.crc32(str(project.home()).encode()) % _PORTS
    if not _taken(preferred):
        return preferred
    with socket.socket() as free:
        free.bind((_HOST, 0))
        return int(free.getsockname()[1])


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ctrl-C, a closed terminal and TERM end the block quietly, after what is inside it has cleaned up."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except KeyboardInterrupt:
        click.echo("MLflow's pages are closed.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _server(uri: str, artifacts: Path, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An MLflow server over the database, and its address; it ends, with all its processes, with the block."""
    if _taken(port):
        raise UserError(f"Port {port} is in use. Choose another: reprise ui --port N")
    log = _log()
    log.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port), "--workers", "1"]
    # The artifacts are files that the server may read where they lie; nothing is uploaded through it.
    command += ["--no-serve-artifacts", "--default-artifact-root", artifacts.as_uri()]
    environment = os.environ | {
        # Not as an argument, which everybody on the machine may read: a database's address can hold a password.
        "MLFLOW_BACKEND_STORE_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: Ctrl-C reaches only us, and one signal reaches all of the server's processes.
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
    try:
        address = f"http://{_HOST}:{port}"
        _wait(address, process)
        yield address, process
    finally:
        _end(process)


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    click.echo("Starting MLflow ...")
    # A proxy in the environment must not be asked for our own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            opener.open(f"{address}/health", timeout=2).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise _failure("MLflow's server did not start")


def _log() -> Path:
    return project.state() / "mlflow-server.log"


def _failure(what: str) -> UserError:
    """What went wrong with the server, and its last words."""
    last = _log().read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return UserError("\n".join([f"{what}. Its last lines:", *last, f"All of them: {_log()}"]))


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
