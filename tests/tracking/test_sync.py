import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from pipeline.cli.sync import command
from pipeline.errors import UserError
from pipeline.params import Params, Tracking
from pipeline.tracking import journal, store, sync
from pipeline.tracking.run import Run
from tests.tracking.runs import DIGEST, InProcess, begun, evaluated, points, stored

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def unsent(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """A training and two evaluations of its model, while MLflow was away."""
    with monkeypatch.context() as away:
        away.setattr(InProcess, "start", lambda self: None)
        with begun() as run:
            run.metrics(1, {"train/loss": 1.0})
            run.link_model(DIGEST)
        time.sleep(0.002)  # journals are sent in the order of their milliseconds
        runs = [run, evaluated(0.8)]
        time.sleep(0.002)
        return [*runs, evaluated(0.9)]


def said(code: int = 0) -> str:
    result = CliRunner().invoke(command, catch_exceptions=False, standalone_mode=False)
    assert result.exit_code == code
    return str(result.output)


def test_all_is_sent_in_the_order_of_the_runs_and_once(client: MlflowClient, unsent: list[Run]) -> None:
    assert said().startswith("Sent ")
    assert said() == "Nothing is left to send.\n"
    trained, first, second = (stored(client, run) for run in unsent)
    assert first.info.run_id == trained.info.run_id
    assert trained.data.metrics == {"train/loss": 1.0, "test/accuracy": 0.8}
    assert second.data.tags["mlflow.parentRunId"] == trained.info.run_id
    assert journal.pending() == []


def test_several_at_once_send_all_once(client: MlflowClient, unsent: list[Run]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(lambda: sync.send_all(sync.left().journals, lambda sent: None)) for _ in range(4)]:
            done.result()
    assert points(client, unsent[0], "train/loss") == [(1, 1.0)]
    assert points(client, unsent[1], "test/accuracy") == [(0, 0.8)]
    assert journal.pending() == []


def test_a_run_that_goes_on_is_left_alone_and_told_of(client: MlflowClient, home: Path) -> None:
    with begun() as run:
        assert said() == "Nothing is left to send.\n1 run still going on, which sends for itself.\n"
        assert stored(client, run).info.status == "RUNNING"


def test_what_was_written_for_another_server_stays_and_is_told_of(
    unsent: list[Run], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/other.db")
    assert "Send them with: reprise sync, without MLFLOW_TRACKING_URI" in said()
    assert len(journal.pending()) == 3


def test_a_server_that_is_away_is_an_error_that_says_how_much_is_left(
    unsent: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> MlflowClient:
        raise store.Unreachable("host:5432: refused")

    left = sum(entries.all_left() for entries in journal.pending())
    monkeypatch.setattr(store, "connect", away)
    with pytest.raises(UserError, match=rf"(?s)\(host:5432: refused\).*{left} entries are left; nothing is lost"):
        said()


def test_progress_counts_every_entry(unsent: list[Run], client: MlflowClient) -> None:
    told: list[int] = []
    journals = sync.left().journals
    total = sum(entries.all_left() for entries in journals)
    sync.send_all(journals, told.append)
    assert sum(told) == total > 6


def test_a_run_that_mlflow_refuses_holds_up_no_other(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    with monkeypatch.context() as away:
        away.setattr(InProcess, "start", lambda self: None)
        for name in ("gone", "there"):
            with begun(Params(tracking=Tracking(experiment_name=name))):
                pass
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(UserError, match=r"(?s)'gone' is deleted.*entries are left; nothing is lost"):
        said()
    assert [entries.first()["experiment"] for entries in journal.pending()] == ["gone"]
    (run,) = client.search_runs([client.get_experiment_by_name("there").experiment_id])
    assert run.info.status == "FINISHED"


def test_artifacts_that_nobody_takes_hold_up_no_scores(
    client: MlflowClient, unsent: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: MlflowClient, *values: object) -> None:
        raise ConnectionError("no route")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_artifact", away)
        with pytest.raises(UserError, match="no route"):
            said()
        evaluated(0.7)
    assert points(client, unsent[1], "test/accuracy") == [(0, 0.8)]
    assert points(client, unsent[2], "test/accuracy") == [(0, 0.9)]
    children = client.search_runs([stored(client, unsent[0]).info.experiment_id], "metrics.`test/accuracy` = 0.7")
    assert len(children) == 1
    assert len(journal.pending()) == 4, "their artifacts are left"
    said()
    assert journal.pending() == []


def test_an_evaluation_does_not_send_what_was_written_for_another_server(
    unsent: list[Run], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(home / "mlflow.db", home / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/other.db")
    evaluated(0.7)
    other = MlflowClient(f"sqlite:///{home}/other.db")
    (only,) = other.search_runs([found.experiment_id for found in other.search_experiments()])
    assert only.data.metrics == {"test/accuracy": 0.7}
    assert [left.id for left in journal.pending()] == [run.id for run in unsent]


def test_what_is_left_is_sent_before_runs_are_read(client: MlflowClient, unsent: list[Run]) -> None:
    sync.catch_up()
    assert points(client, unsent[0], "train/loss") == [(1, 1.0)]
    assert not journal.pending()


def test_runs_are_read_all_the_same_where_some_cannot_be_sent(
    unsent: list[Run], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(journal: journal.Journal) -> None:
        raise UserError("The experiment is deleted.")

    monkeypatch.setattr(sync, "connected", refused)
    sync.catch_up()
    assert capsys.readouterr().err.startswith("The experiment is deleted.\n")
    assert len(journal.pending()) == 3
