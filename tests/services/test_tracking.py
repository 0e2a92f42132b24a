"""A training's way to MLflow on PostgreSQL and S3, while one of them is killed, hung or away: nothing is lost."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Stored

from pipeline.params import Params
from pipeline.tracking import journal
from pipeline.tracking.run import Run
from tests.conftest import REPOSITORY
from tests.services.servers import SECONDS_TO_START as SECONDS
from tests.services.servers import Server
from tests.tracking.runs import DIGEST

pytestmark = pytest.mark.services

STEPS, PAUSE = 400, 0.02
Trouble = dict[int, Callable[[], object]]


def train(trouble: Trouble | None = None, resume: str | None = None, first: int = 1, pause: float = PAUSE) -> Run:
    """A loop of some seconds that logs each step, and before some of them does something to the servers."""
    with Run.start(Params(), inputs={"data/tokenized": DIGEST}, device="cpu", resume=resume) as run:
        run.dataset("train", "training", DIGEST, 1234, "rows.csv")
        for step in range(first, STEPS + 1):
            (trouble or {}).get(step, lambda: None)()
            run.metrics(step, {"train/loss": 1 / step, "train/learning_rate": step / STEPS})
            time.sleep(pause)
        Path("note.txt").write_text("kept")
        run.artifact(Path("note.txt"), "notes")
    return run


def stored(server: Server) -> Stored:
    """The only run there is."""
    client = MlflowClient(server.address)
    (run,) = client.search_runs([client.get_experiment_by_name("reprise").experiment_id])
    return run


def assert_whole(server: Server) -> Stored:
    """Every point is there, once, and so is the rest."""
    client, run = MlflowClient(server.address), stored(server)
    for name, value in (("train/loss", lambda step: 1 / step), ("train/learning_rate", lambda step: step / STEPS)):
        history = client.get_metric_history(run.info.run_id, name)
        assert len(history) == STEPS, f"{name}: {Counter(point.step for point in history).most_common(3)}"
        assert {(point.step, point.value) for point in history} == {(step, value(step)) for step in range(1, STEPS + 1)}
    assert run.info.status == "FINISHED"
    assert len(run.inputs.dataset_inputs) == 1
    assert [item.path for item in client.list_artifacts(run.info.run_id, "notes")] == ["notes/note.txt"]
    assert journal.pending() == []
    return run


def sync() -> subprocess.Popen[str]:
    return program("import sys; from pipeline.cli import main; sys.argv[1:] = ['sync']; main()")


def program(code: str) -> subprocess.Popen[str]:
    """A Python program in the test's folder, with this repository's code."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a program has said by its end."""
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, output
    return output


@pytest.fixture(autouse=True)
def project(folder: Path, monkeypatch: pytest.MonkeyPatch, mlflow_server: Server) -> Path:
    """A project folder, as far as `reprise sync` cares."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    for name in ("dvc.yaml", "params.yaml"):
        (folder / name).write_text((REPOSITORY / name).read_text())
    return folder


def test_a_server_killed_for_a_minute_in_mid_run(mlflow_server: Server) -> None:
    train({50: mlflow_server.kill, 350: mlflow_server.start}, pause=0.2)
    assert_whole(mlflow_server)


def test_a_server_that_hangs_in_mid_run(mlflow_server: Server) -> None:
    train({100: mlflow_server.stop_signal, 350: mlflow_server.cont})
    assert_whole(mlflow_server)


def test_a_server_that_hangs_at_the_start_makes_one_run_when_it_wakes(
    mlflow_server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow_server.stop_signal()
    train({300: mlflow_server.cont})
    assert "does not answer; the run goes on, and is sent when it does" in capfd.readouterr().err
    assert_whole(mlflow_server)


def test_a_database_killed_behind_the_server(mlflow_server: Server, postgresql: Server | None) -> None:
    if postgresql is None:
        pytest.skip("DATABASE_URL names a database that is not ours to kill")
    train({100: postgresql.kill, 300: postgresql.start})
    assert_whole(mlflow_server)


def test_an_artifact_store_that_is_away_holds_up_no_metric(mlflow_server: Server, s3: Server) -> None:
    s3.stop_signal()
    try:
        run = train()
        found = MlflowClient(mlflow_server.address).get_metric_history(stored(mlflow_server).info.run_id, "train/loss")
        assert len(found) == STEPS
        assert stored(mlflow_server).info.status == "FINISHED"
        (left,) = journal.pending()
        assert (left.id, left.all_left()) == (run.id, left.left(journal.ARTIFACTS))
    finally:
        s3.cont()
    assert "of 1 run to" in said(sync())
    assert_whole(mlflow_server)


def test_what_a_server_that_is_away_missed_is_sent_once_however_often(
    mlflow_server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow_server.kill()
    train()
    assert "They are kept; send them when it answers: reprise sync" in capfd.readouterr().err
    Path("note.txt").write_text("of a later run")
    assert "entries are left; nothing is lost" in said(sync(), code=1)
    mlflow_server.start()
    for process in [sync() for _ in range(2)]:
        said(process)
    assert "Nothing is left to send." in said(sync())
    run = assert_whole(mlflow_server)
    assert Path(MlflowClient().download_artifacts(run.info.run_id, "notes/note.txt")).read_text() == "kept"


def test_a_sender_that_is_killed_again_and_again(mlflow_server: Server) -> None:
    def kill() -> None:
        for child in psutil.Process().children():
            if "pipeline.tracking.sender" in child.cmdline():
                child.kill()

    train(dict.fromkeys((1, 150, 300), kill))
    assert_whole(mlflow_server)


CUT_SHORT = """
import os, time
from pipeline.params import Params
from pipeline.tracking.run import Run
with Run.start(Params(), inputs={}, device="cpu") as run:
    print(run.id, flush=True)
    for step in range(1, 201):
        run.metrics(step, {"train/loss": 1 / step, "train/learning_rate": step / 400})
    time.sleep(WAIT)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("wiped", [False, True], ids=["kept", "wiped"])
def test_a_killed_training_is_closed_and_gone_on_with(mlflow_server: Server, folder: Path, wiped: bool) -> None:
    # Half of its steps reach the server; or hardly any, where the journal stays.
    killed = program(CUT_SHORT.replace("WAIT", "3" if wiped else "0"))
    run_id = said(killed, -signal.SIGKILL).split()[0]
    said(sync())
    assert stored(mlflow_server).info.status == "KILLED"
    if wiped:
        shutil.rmtree(folder / ".reprise")
    train(resume=run_id, first=101)
    assert_whole(mlflow_server)
