"""A registered version behind the real server of `mlflow models serve`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.params import Hardware
from pipeline.serving import package
from pipeline.serving.predictor import Predictor
from tests.conftest import texts_and_labels
from tests.serving.exported import asked as rows_asked

pytestmark = pytest.mark.services

TEXTS = texts_and_labels(40, seed=9, labels=3)[0]
_SECONDS_TO_START = 180


@pytest.fixture(scope="module")
def address(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the packed model, in a folder where there is no project."""
    folder = tmp_path_factory.mktemp("served")
    package.write(model, folder / "model", None, {})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow = str(Path(sys.executable).with_name("mlflow"))
    command = [mlflow, "models", "serve", "-m", "model", "-p", str(port), "--env-manager", "local"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # MLflow starts the server through the shell, by the name that comes first on PATH.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    log = folder / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        for _ in range(_SECONDS_TO_START * 5):
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail(log.read_text())
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def asked(address: str, body: object) -> tuple[int, dict]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_it_answers_as_the_model_does(address: str, model: Path) -> None:
    status, answer = asked(address, {"dataframe_records": [{"text": text} for text in TEXTS]})
    assert status == 200
    ours = Predictor.load(model, Hardware(use_cpu=True)).answer(rows_asked(TEXTS))
    for theirs, expected in zip(answer["predictions"], ours, strict=True):
        assert theirs["label"] == expected["label"]
        assert theirs["probability"] == pytest.approx(expected["probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"dataframe_records": [{"txt": "good"}]}, "missing inputs ['text']"),
        ({"dataframe_records": [{"text": 7}]}, "text"),
        ({"dataframe_records": [{"text": None}]}, "Row 0: its column 'text' is missing"),
        ({"dataframe_records": [{"text": ""}]}, "Row 0: its column 'text' is empty"),
        ({"dataframe_split": {"columns": ["text"], "data": []}}, "There is no row to answer"),
        (b"{", "valid JSON"),
    ],
)
def test_bad_input_gets_a_clear_400(address: str, body: object, said: str) -> None:
    status, answer = asked(address, body)
    assert status == 400, answer
    assert said in answer["message"]


def test_it_answers_on_after_bad_input(address: str) -> None:
    asked(address, b"{")
    assert asked(address, {"dataframe_records": [{"text": "good"}]})[0] == 200
