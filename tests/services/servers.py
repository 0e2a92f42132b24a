"""Servers that are started natively, on free ports, and that a test may kill, hang and start again."""

import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import environment

SECONDS_TO_START = 120.0
_SECONDS_TO_STOP = 20.0
_DEBIAN = "/usr/lib/postgresql/*/bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A program that serves, with its children.

    Attributes:
        address: what a client is told.
        answers: whether it serves by now.
        stop: the signal that ends it well.
        user: whose rights it runs with; None for ours.
    """

    name: str
    command: Sequence[str]
    address: str
    answers: Callable[[], bool]
    log: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    stop: signal.Signals = signal.SIGTERM
    user: str | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None, f"{self.name} runs already"
        parent = os.getpid()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                preexec_fn=lambda: environment.die_with(parent),
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.answers():
            assert self._process.poll() is None and time.monotonic() < deadline, (
                f"{self.name} did not start: {self.log.read_text(errors='replace')[-2000:]}"
            )
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it well, if it runs."""
        if self._process is not None:
            self.cont()
            self._end(self.stop)

    def stop_signal(self) -> None:
        """Hang it: it takes connections, and never answers."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """Let it go on after `stop_signal`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} does not run"
        os.killpg(self._process.pid, number)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} does not run"
        os.killpg(self._process.pid, number)
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


def answers_http(port: int, path: str) -> bool:
    """Whether a server answers this path with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def postgresql(folder: Path) -> Server:
    """A PostgreSQL cluster of its own in the folder, which must be one that every user may enter."""
    programs = _postgresql_programs()
    # PostgreSQL refuses to run as root.
    user = None if os.geteuid() else "postgres"
    data, port = folder / "data", free_port()
    if user:
        shutil.chown(folder, user)
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "reprise", "--auth=trust", "-E", "UTF8", "--locale=C"],
        check=True,
        capture_output=True,
        user=user,
        cwd=folder,
    )
    return Server(
        "PostgreSQL",
        [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"],
        f"postgresql://reprise@127.0.0.1:{port}",
        lambda: _answers_sql(f"postgresql://reprise@127.0.0.1:{port}/postgres"),
        Path(tempfile.gettempdir()) / f"{folder.name}.log",
        stop=signal.SIGINT,  # does not wait for clients
        user=user,
    )


def _postgresql_programs() -> Path:
    on_path = shutil.which("postgres")
    found = [Path(on_path).resolve().parent] if on_path else sorted(Path("/").glob(_DEBIAN[1:]))
    assert found and (found[-1] / "initdb").exists(), (
        f"These tests need PostgreSQL's own programs, on the PATH or in {_DEBIAN}: apt-get install postgresql. "
        "Or set DATABASE_URL to postgresql://USER:PASSWORD@HOST:PORT/DATABASE of a server, whose user may create "
        "databases."
    )
    return found[-1]


def _answers_sql(address: str) -> bool:
    import psycopg2  # not above: `make test` reads this file, too, and is not given it

    try:
        psycopg2.connect(address, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def execute(address: str, statement: str) -> None:
    """Run a statement that no transaction may hold, such as CREATE DATABASE."""
    import psycopg2

    connection = psycopg2.connect(address)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def s3(log: Path) -> Server:
    """Moto's S3, in memory."""
    port = free_port()
    return Server(
        "moto's S3",
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        f"http://127.0.0.1:{port}",
        lambda: answers_http(port, "/moto-api/"),
        log,
    )


def mlflow(backend: str, artifacts: str, log: Path, options: Sequence[str] = ()) -> Server:
    """`mlflow server`, as deploy/ starts it: its own database, and artifacts that clients get through it."""
    port = free_port()
    # SQLAlchemy 2.1 takes plain postgresql:// for psycopg 3.
    backend = backend.replace("postgresql://", "postgresql+psycopg2://")
    return Server(
        "MLflow",
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", backend, "--artifacts-destination", artifacts),
            *("--allowed-hosts", f"127.0.0.1:{port},localhost:{port}", *options),
        ],
        f"http://127.0.0.1:{port}",
        lambda: answers_http(port, "/health"),
        log,
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
