"""What is sent once, twice, late or in part is in MLflow once."""

import math
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.tracking import journal as journals
from pipeline.tracking import store, sync
from pipeline.tracking.forward import POINTS, Forwarder, batches
from pipeline.tracking.journal import ARTIFACTS, SYSTEM, Journal
from pipeline.tracking.run import Run
from tests.tracking.runs import DIGEST, InProcess, begun, points, stored

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def unsent(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that ended while MLflow was away."""
    with monkeypatch.context() as away:
        away.setattr(InProcess, "start", lambda self: None)
        run = begun()
        with run:
            for step in range(1, 31):
                run.metrics(step, {"train/loss": 1 / step})
            run.tags({"note": "kept"})
            run.dataset("docstrings", "training", DIGEST, 1234, "rows.csv")
    return run


def forward(client: MlflowClient, run: Run) -> None:
    Forwarder(journals.of(run.id), client).forward()


def test_sending_again_from_the_start_changes_nothing(client: MlflowClient, unsent: Run) -> None:
    forward(client, unsent)
    (journals.of(unsent.id).folder / "sent.json").unlink()
    forward(client, unsent)
    assert points(client, unsent, "train/loss") == [(step, 1 / step) for step in range(1, 31)]
    found = stored(client, unsent)
    assert (found.info.status, found.data.tags["note"]) == ("FINISHED", "kept")
    assert len(found.inputs.dataset_inputs) == 1
    assert client.get_run(found.info.run_id).info.start_time == journals.of(unsent.id).first()["time"]


def test_a_sender_that_dies_between_any_two_requests_goes_on(
    client: MlflowClient, unsent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        pass

    calls, write = 0, Journal.save
    for last in range(1, 40):
        calls = 0

        def save(self: Journal, sent: object, last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls == last:
                raise Died
            write(self, sent)

        with monkeypatch.context() as deadly:
            deadly.setattr(Journal, "save", save)
            try:
                forward(client, unsent)
            except Died:
                continue
        break
    assert last > 3
    assert points(client, unsent, "train/loss") == [(step, 1 / step) for step in range(1, 31)]
    assert stored(client, unsent).info.status == "FINISHED"


def test_a_resumed_training_repeats_no_point_also_when_its_journal_is_gone(client: MlflowClient, home: Path) -> None:
    first = begun()
    for step in range(1, 21):
        first.metrics(step, {"train/loss": 1 / step})
    first.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    shutil.rmtree(home / ".reprise")
    with begun(resume=first.id) as second:
        for step in range(11, 31):
            second.metrics(step, {"train/loss": 1 / step})
    assert points(client, second, "train/loss") == [(step, 1 / step) for step in range(1, 31)]


def test_what_two_lives_of_a_run_said_is_sent_without_repetition(
    client: MlflowClient, unsent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(resume=unsent.id) as again:
        for step in range(21, 41):
            again.metrics(step, {"train/loss": 1 / step})
    assert points(client, again, "train/loss") == [(step, 1 / step) for step in range(1, 41)]
    assert stored(client, again).info.status == "FINISHED"


def test_a_journal_for_another_server_is_not_gone_on_with(
    unsent: Run, client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(home / "mlflow.db", home / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/other.db")
    with begun(resume=unsent.id) as other:
        assert other.id != unsent.id
    assert [left.id for left in journals.pending()] == [unsent.id]
    assert sync.left().elsewhere == {""}


def test_twins_that_a_hung_server_created_are_deleted(
    client: MlflowClient, unsent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = MlflowClient.create_run

    def unanswered(self: MlflowClient, *values: object, **settings: object) -> object:
        create(self, *values, **settings)
        create(self, *values, **settings)
        raise MlflowException("timed out")

    with monkeypatch.context() as hung:
        hung.setattr(MlflowClient, "create_run", unanswered)
        with pytest.raises(MlflowException):
            forward(client, unsent)
    forward(client, unsent)
    assert points(client, unsent, "train/loss") == [(step, 1 / step) for step in range(1, 31)], "and there is one run"


def test_a_store_of_artifacts_that_is_away_holds_up_no_metric(
    client: MlflowClient, unsent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: MlflowClient, *values: object) -> None:
        raise ConnectionError("no route")

    artifacts = journals.of(unsent.id).left(ARTIFACTS)
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_artifact", away)
        with pytest.raises(store.Unreachable, match="no route"):
            forward(client, unsent)
    assert stored(client, unsent).info.status == "FINISHED"
    assert journals.of(unsent.id).all_left() == artifacts > 0
    forward(client, unsent)
    assert "params.yaml" in [item.path for item in client.list_artifacts(stored(client, unsent).info.run_id)]


def test_an_artifact_that_is_another_one_now_is_told_of_and_not_sent(
    client: MlflowClient, unsent: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = journals.of(unsent.id).left(ARTIFACTS)
    shutil.rmtree(journals.of(unsent.id).folder / "kept")
    (journals.of(unsent.id).folder / "params.yaml").write_text("of another run")
    forward(client, unsent)
    assert "params.yaml is another one now" in capsys.readouterr().err
    assert stored(client, unsent).data.tags["reprise.lost"] == f"{artifacts} artifacts"
    assert client.list_artifacts(stored(client, unsent).info.run_id) == []


def test_a_refused_login_is_waited_for_and_a_bad_value_is_not(
    client: MlflowClient, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not store.is_final(MlflowException("login", error_code=16))
    with begun() as run:
        run.dataset("n" * 600, "training", DIGEST, 1, "rows.csv")
        run.metrics(1, {"train/loss": 1.0})
    assert "MLflow refused 1 datasets: " in capsys.readouterr().err
    assert stored(client, run).data.tags["reprise.lost"] == "1 datasets"
    assert points(client, run, "train/loss") == [(1, 1.0)]


def test_a_fault_of_ours_is_not_taken_for_one_of_mlflow(
    client: MlflowClient, unsent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forwarder, "_dataset", lambda self, entry: self._try(lambda client, run: 1 / 0, {}))
    with pytest.raises(ZeroDivisionError):
        forward(client, unsent)


def test_system_metrics_keep_their_time_and_stand_at_the_second_of_the_run(client: MlflowClient, unsent: Run) -> None:
    journal = journals.of(unsent.id)
    began = journal.first()["time"]
    with journal.writing():
        for second in (5, 10):
            values = {"system/cpu": second / 100, "system/gpu": None}
            journal.append(SYSTEM, {"kind": "metrics", "time": began + 1000 * second, "values": values})
    forward(client, unsent)
    assert points(client, unsent, "system/cpu") == [(5, 0.05), (10, 0.1)]
    assert math.isnan(points(client, unsent, "system/gpu")[0][1])


def test_points_are_sent_in_batches_and_in_order() -> None:
    def entry(kind: str, names: int = 2) -> dict[str, object]:
        return {"kind": kind, "values": dict.fromkeys(map(str, range(names)), 0.0)}

    said = [entry("open"), *[entry("metrics")] * POINTS, entry("tags"), entry("finals"), entry("metrics")]
    found = list(batches((item, offset) for offset, item in enumerate(said, 1)))
    assert [(items[0]["kind"], len(items), offset) for items, offset in found] == [
        ("open", 1, 1),
        ("metrics", POINTS // 2, 1 + POINTS // 2),
        ("metrics", POINTS // 2, 1 + POINTS),
        ("tags", 1, 2 + POINTS),
        ("finals", 2, 4 + POINTS),
    ]
    assert list(batches(iter(()))) == []
