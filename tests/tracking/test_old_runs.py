"""What is worth keeping is kept with its whole family, and so is what nobody can judge; the rest goes."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.errors import UserError
from pipeline.tracking import old_runs, records
from pipeline.tracking.old_runs import Wanted

METRIC = "validation/accuracy"


@pytest.fixture
def experiment(client: MlflowClient, home: Path) -> str:
    return client.create_experiment("reprise", artifact_location=(home / "mlartifacts").as_uri())


def run(client: MlflowClient, experiment: str, *scores: float, status: str = "FINISHED", **tags: str) -> str:
    run_id: str = client.create_run(experiment, tags=tags).info.run_id
    for step, score in enumerate(scores):
        client.log_metric(run_id, METRIC, score, step=step)
    client.log_text(run_id, "weights", "model/weights")
    if status == "RUNNING":
        client.update_run(run_id, status)
    else:
        client.set_terminated(run_id, status)
    return run_id


def reasons(best: int = 0, metric: str = METRIC, models: dict[str, str] | None = None, *resumable: str):
    found = old_runs.survey("reprise", Wanted(best, metric, models or {}, resumable))
    return {old.record.id: old.reason for old in found}


def test_the_best_are_those_whose_best_evaluation_was_best(client: MlflowClient, experiment: str):
    low, high, falling = (run(client, experiment, *scores) for scores in ((0.1,), (0.5, 0.6), (0.9, 0.2)))
    assert reasons(2) == {
        falling: f"1 of the best 2, {METRIC} 0.900",
        high: f"2 of the best 2, {METRIC} 0.600",
        low: None,
    }
    assert set(reasons(0).values()) == {None}


@pytest.mark.parametrize("metric", ["validation/loss", "validation/perplexity"])
def test_where_less_is_better_the_lowest_is_best(client: MlflowClient, experiment: str, metric: str):
    runs = []
    for loss in (0.5, 0.3, 0.7):
        run_id = run(client, experiment)
        client.log_metric(run_id, metric, loss)
        runs.append(run_id)
    assert [run_id for run_id, reason in reasons(1, metric).items() if reason] == [runs[1]]


def test_what_is_registered_running_in_use_or_unknown_is_kept(client: MlflowClient, experiment: str):
    registered, tagged = run(client, experiment, 0.1), run(client, experiment, 0.1)
    running, unknown = run(client, experiment, 0.1, status="RUNNING"), run(client, experiment)
    in_use = run(client, experiment, 0.1, **{f"{records.OUTPUT}models/best": "abc.dir"})
    killed, failed = run(client, experiment, status="KILLED"), run(client, experiment, status="FAILED")
    resumed = run(client, experiment, status="KILLED", **{"reprise.journal": "j1"})
    plain = run(client, experiment, 0.1)
    client.create_registered_model("reviews")
    client.create_model_version("reviews", "file:///x", run_id=registered)
    client.create_model_version("reviews", "file:///x", tags={"reprise.run": tagged})
    client.set_registered_model_alias("reviews", "champion", "1")
    assert reasons(0, METRIC, {"abc.dir": "its model is that of main"}, killed, "j1") == {
        registered: "registered as reviews/1, champion",
        tagged: "registered as reviews/2",
        running: "is running",
        unknown: f"has no {METRIC}",
        in_use: "its model is that of main",
        killed: "unfinished, and a checkpoint can go on with it",
        resumed: "unfinished, and a checkpoint can go on with it",
        failed: None,
        plain: None,
    }


def test_all_registered_runs_are_kept_however_many_there_are_and_whatever_they_are_called(
    client: MlflowClient, experiment: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(old_runs, "_PAGE", 1)
    runs = [run(client, experiment, 0.1) for _ in range(3)]
    for name, run_id in zip(("ann's", "ann's", "other"), runs, strict=True):
        if name not in {model.name for model in client.search_registered_models()}:
            client.create_registered_model(name)
        client.create_model_version(name, "file:///x", run_id=run_id)
    assert reasons(0) == {
        runs[0]: "registered as ann's/1",
        runs[1]: "registered as ann's/2",
        runs[2]: "registered as other/1",
    }


def test_families_stay_together(client: MlflowClient, experiment: str):
    parent = run(client, experiment, 0.2)
    good, bad = (run(client, experiment, score, **{"mlflow.parentRunId": parent}) for score in (0.9, 0.1))
    lonely = run(client, experiment, 0.3)
    orphan = run(client, experiment, 0.1, **{"mlflow.parentRunId": "0" * 32})
    found = reasons(1)
    assert found[good] == f"1 of the best 1, {METRIC} 0.900"
    assert found[parent] == found[bad] == f"belongs to the run {good}, which is kept"
    assert found[lonely] is None
    assert found[orphan] is None


def test_removed_runs_leave_nothing(client: MlflowClient, experiment: str, home: Path):
    kept, gone = run(client, experiment, 0.9), run(client, experiment, 0.1)
    olds = [old for old in old_runs.survey("reprise", Wanted(1, METRIC, {}, ())) if old.reason is None]
    assert [(old.record.id, old.artifacts) for old in olds] == [(gone, home / "mlartifacts" / gone / "artifacts")]
    old_runs.remove(olds)
    assert records.existing(client, gone) is None
    assert not (home / "mlartifacts" / gone / "artifacts").exists()
    assert (home / "mlartifacts" / kept / "artifacts/model/weights").is_file()
    with pytest.raises(UserError, match="does not delete runs"):
        old_runs.remove(olds)


def test_runs_of_all_experiments_are_found(client: MlflowClient, experiment: str):
    runs = {run(client, place) for place in (experiment, client.create_experiment("other"))}
    gone = run(client, experiment)
    client.delete_run(gone)
    assert {record.id for record in old_runs.everywhere()} == runs


def test_without_an_experiment_there_is_nothing(home: Path):
    assert old_runs.survey("reprise", Wanted(5, METRIC, {}, ())) == []


def test_a_server_that_is_away_is_said(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for ask in (old_runs.aliases, lambda: old_runs.survey("reprise", Wanted(5, METRIC, {}, ()))):
        with pytest.raises(UserError, match="does not answer"):
            ask()
