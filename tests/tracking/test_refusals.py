"""A server that does not take our runs is an error before anything is trained."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from werkzeug.serving import BaseWSGIServer

from pipeline.errors import UserError
from pipeline.tracking import journal
from tests.tracking.runs import begun


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
