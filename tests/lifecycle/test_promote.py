"""Register, decide, promote, roll back: from runs in a real MLflow store, with real models."""

import csv
import json
import shutil
from pathlib import Path

import click
import mlflow
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from pipeline import digest, params_file, project
from pipeline.errors import UserError
from pipeline.evaluation import examples
from pipeline.lifecycle.decide import Decision, decide
from pipeline.lifecycle.fetch import of_registry
from pipeline.lifecycle.promote import promote, rollback
from pipeline.lifecycle.register import register
from pipeline.params import Hardware, Params, Promotion
from pipeline.serving.predictor import Predictor
from pipeline.tracking import history
from pipeline.tracking.registry import CHAMPION, Registry
from tests.lifecycle.made import (
    COMMIT,
    answered,
    evaluated_again,
    evaluated_run,
    other_model,
    project_folder,
    write_test_rows,
)
from tests.serving.exported import LABELS

NON_INFERIOR = Promotion(required="non-inferior", margin=0.05)


@pytest.fixture
def params(home: Path) -> Params:
    return project_folder()


@pytest.fixture
def good(client: MlflowClient, params: Params, model: Path) -> str:
    return evaluated_run(client, "good", model, errors=80)


@pytest.fixture
def better(client: MlflowClient, params: Params, model: Path, home: Path) -> str:
    return evaluated_run(client, "better", other_model(model, home / "models/better", 1), errors=40)


@pytest.fixture
def worse(client: MlflowClient, params: Params, model: Path, home: Path) -> str:
    return evaluated_run(client, "worse", other_model(model, home / "models/worse", 2), errors=120)


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias("reprise", CHAMPION).version)


# Register


def test_a_run_is_registered_once(client: MlflowClient, good: str, params: Params, model: Path) -> None:
    version, new = register("good", params)
    assert new
    assert str(version) == "reprise/1"
    assert register(good, params) == (version, False)
    stored = client.get_model_version("reprise", "1")
    assert stored.run_id == good
    assert stored.tags["reprise.model_digest"] == digest.of_folder(model)
    assert stored.tags["reprise.git.commit"] == COMMIT
    assert stored.tags["reprise.test_set"] == version.test_set
    assert stored.description == "# Card"
    assert champion_or_none(client) is None


def champion_or_none(client: MlflowClient) -> str | None:
    return client.get_registered_model("reprise").aliases.get(CHAMPION)


def test_a_version_is_a_pyfunc_with_the_card_and_answers_as_the_model(
    client: MlflowClient, good: str, params: Params, model: Path, tmp_path: Path
) -> None:
    version, _ = register("good", params)
    folder = Registry.open("reprise").fetch(version, tmp_path / "fetched")
    assert (folder / "README.md").read_text().startswith("---\na: b\n---\n")
    loaded = mlflow.pyfunc.load_model(str(folder))
    texts = ["good fine day", "awful", "calm and plain"]
    ours = Predictor.load(model, Hardware(use_cpu=True)).answer(texts)
    assert loaded.predict(pd.DataFrame({"text": texts})).to_dict("records") == ours


def test_a_model_that_mlflow_does_not_keep_is_taken_from_the_project(
    client: MlflowClient, params: Params, model: Path
) -> None:
    run = evaluated_run(client, "bare", model, errors=80)
    shutil.rmtree(Path(client.get_run(run).info.artifact_uri.removeprefix("file://")) / "model")
    with pytest.raises(UserError, match="kept no model in MLflow"):
        register("bare", params)
    shutil.copytree(model, project.BEST_MODEL)
    assert register("bare", params)[1]


def test_a_kept_model_that_changed_is_not_registered(client: MlflowClient, good: str, params: Params) -> None:
    kept = Path(client.get_run(good).info.artifact_uri.removeprefix("file://")) / "model/config.json"
    kept.write_text(kept.read_text() + "\n")
    with pytest.raises(UserError, match="is not the one that it made"):
        register("good", params)


def test_a_run_without_a_model_is_told(client: MlflowClient, params: Params) -> None:
    experiment = client.create_experiment("reprise")
    client.create_run(experiment, run_name="empty")
    with pytest.raises(UserError, match=r"The run empty .* made no model"):
        register("empty", params)


# Decide and promote


def test_the_first_champion_needs_the_floors_alone(client: MlflowClient, good: str, params: Params) -> None:
    decision, event = promote("good", params)
    assert decision.passed
    assert decision.champion is None
    assert event is not None
    assert (event.number, event.kind, event.version, event.before) == (1, "promoted", "1", None)
    assert champion(client) == "1"
    kept = client.download_artifacts(good, f"decisions/{event.decision}.json")
    assert Decision.read(Path(kept)) == decision


def test_a_better_model_follows_and_a_worse_one_does_not(
    client: MlflowClient, good: str, better: str, worse: str, params: Params
) -> None:
    promote("good", params)
    decision, event = promote("worse", params)
    assert (decision.verdict, event, champion(client)) == ("not passed", None, "1")
    assert len(client.search_model_versions("name='reprise'")) == 1, "what does not pass is not registered"
    decision, event = promote("better", params)
    assert decision.champion == "1"
    assert champion(client) == "2"
    assert event is not None
    assert event.before == "1"
    promoted, again = promote("better", params)
    assert again is None, "it is champion already"
    assert promoted.model_digest == promoted.champion_model_digest


def test_looks_at_the_test_set_are_counted(client: MlflowClient, good: str, better: str, params: Params) -> None:
    assert [decide(name, params).looks for name in ("good", "better", "good")] == [1, 2, 3]


def test_a_decision_reads_as_it_was_written(good: str, params: Params, tmp_path: Path) -> None:
    promoted = Promotion(floors={"accuracy": 0.5})
    decision = decide("good", params.model_copy(update={"promotion": promoted}))
    decision.write(tmp_path / "decision.json")
    assert Decision.read(tmp_path / "decision.json") == decision
    assert Decision.read(tmp_path / "decision.json").digest == decision.digest


def test_forcing_is_recorded_with_its_reason(client: MlflowClient, good: str, worse: str, params: Params) -> None:
    promote("good", params)
    _, event = promote("worse", params, reason="the other one leaks")
    assert event is not None
    assert (event.kind, event.verdict, event.reason) == ("forced", "not passed", "the other one leaks")
    assert champion(client) == "2"


def test_champions_cannot_creep_down(client: MlflowClient, params: Params, model: Path, home: Path) -> None:
    """Three models, each worse than the one before by less than the margin."""
    params = params.model_copy(update={"promotion": NON_INFERIOR})
    for number, errors in enumerate((40, 46, 70), 1):
        evaluated_run(client, f"m{number}", other_model(model, home / f"models/m{number}", number), errors)
    assert promote("m1", params)[1] is not None
    assert promote("m2", params)[1] is not None
    # Against m2 it lost 24 rows of 400 (6%), against m1, the best of them, 30.
    (check,) = decide("m3", params).checks
    assert check.value == pytest.approx(-30 / 400)


def test_what_was_rolled_back_is_no_bar(client: MlflowClient, good: str, better: str, params: Params) -> None:
    params = params.model_copy(update={"promotion": NON_INFERIOR})
    promote("good", params)
    promote("better", params)
    rollback(params, None, None, "it was trained on the test rows")
    (check,) = decide("good", params).checks
    assert check.value == 0.0


# The test set changed


def test_the_champion_answers_new_test_rows_anew(
    client: MlflowClient, good: str, params: Params, model: Path, home: Path
) -> None:
    promote("good", params)
    write_test_rows(seed=6)
    evaluated_run(client, "new", other_model(model, home / "models/new", 3), errors=0)
    decision = decide("new", params)
    (check,) = decision.checks
    right = rightly_answered(model)
    assert 0 < right < 100, "a random model is right on some"
    assert check.value == pytest.approx(1 - right / 400)
    assert decision.passed
    # It was asked once: what it answered is kept, and the rows are needed no more.
    write_test_rows(seed=7)
    assert decide("new", params).checks == decision.checks


def rightly_answered(model: Path) -> int:
    """How many test rows of the project the model really has right."""
    rows = pq.read_table(project.PREPARED / "test.parquet")
    said = Predictor.load(model, Hardware(use_cpu=True)).answer(rows["text"].to_pylist())
    targets = rows["label"].to_pylist()
    return sum(answer["label"] == LABELS[label] for answer, label in zip(said, targets, strict=True))


def test_margins_do_not_add_up_over_a_change_of_the_test_rows(
    client: MlflowClient, good: str, params: Params, model: Path, home: Path
) -> None:
    params = params.model_copy(update={"promotion": NON_INFERIOR})
    promote("good", params)
    write_test_rows(seed=6)
    wrong = 400 - rightly_answered(model)
    for number in (1, 2):
        evaluated_run(client, f"m{number}", other_model(model, home / f"models/m{number}", number), wrong + 8 * number)
    promote("m1", params, reason="the next one shall be held against the one before, too")
    (check,) = decide("m2", params).checks
    assert check.value == pytest.approx(-16 / 400)


def test_rows_that_are_not_here_are_told(
    client: MlflowClient, good: str, params: Params, model: Path, home: Path
) -> None:
    promote("good", params)
    write_test_rows(seed=6)
    evaluated_run(client, "new", other_model(model, home / "models/new", 3), errors=0)
    write_test_rows(seed=7)
    with pytest.raises(UserError, match="The test rows changed since reprise/1 was evaluated"):
        decide("new", params)


def test_the_newest_evaluation_counts_and_the_champion_s_on_the_same_rows(
    client: MlflowClient, good: str, better: str, params: Params
) -> None:
    promote("good", params)
    test_rows = project.PREPARED / "test.parquet"
    before = test_rows.read_bytes()
    write_test_rows(seed=6)
    evaluated_again(client, good, errors=100)
    evaluated_again(client, better, errors=60)
    (check,) = decide("better", params).checks
    assert check.value == pytest.approx(40 / 400), "both answered the new rows"
    test_rows.write_bytes(before)
    evaluated_again(client, better, errors=70)
    (check,) = decide("better", params).checks
    assert check.value == pytest.approx(10 / 400), "of the champion those on the same rows, though they are older"


# What changed since the decision


@pytest.fixture
def decided(good: str, better: str, params: Params, tmp_path: Path) -> Path:
    """A decision for `better` against the champion `good`."""
    promote("good", params)
    decide("better", params).write(tmp_path / "decision.json")
    return tmp_path / "decision.json"


def test_a_decision_is_gone_by(client: MlflowClient, decided: Path, params: Params) -> None:
    decision, event = promote(None, params, decided)
    assert event is not None
    assert event.decision == decision.digest
    assert champion(client) == "2"


def test_another_champion_since_then_is_refused(
    client: MlflowClient, decided: Path, worse: str, params: Params
) -> None:
    promote("worse", params, reason="in between")
    with pytest.raises(UserError, match=r"champion of 'reprise' changed .*it was 1, and is 2"):
        promote(None, params, decided)
    assert champion(client) == "2"


def test_another_gate_since_then_is_refused(decided: Path, params: Params) -> None:
    with pytest.raises(UserError, match=r"rules of promotion in params.yaml changed"):
        promote(None, params.model_copy(update={"promotion": NON_INFERIOR}), decided)


def test_another_registered_model_is_refused(decided: Path, params: Params) -> None:
    """One without a champion is easily passed, and is none of those that serve."""
    tracking = params.tracking.model_copy(update={"registered_model_name": "other"})
    with pytest.raises(UserError, match=r"was decided for 'reprise', and params.yaml names 'other'"):
        promote(None, params.model_copy(update={"tracking": tracking}), decided)


def test_another_model_since_then_is_refused(client: MlflowClient, decided: Path, worse: str, params: Params) -> None:
    with pytest.raises(UserError, match="model of worse is not the one"):
        promote("worse", params, decided)


def test_another_test_set_since_then_is_refused(
    client: MlflowClient, decided: Path, better: str, params: Params
) -> None:
    write_test_rows(seed=6)
    examples.write(Path("answers/test.parquet"), params.task, answered(3))
    client.log_artifact(better, "answers/test.parquet", "report/examples")
    with pytest.raises(UserError, match="test rows of better changed"):
        promote(None, params, decided)


def test_a_decision_that_was_edited_is_refused(decided: Path, worse: str, params: Params) -> None:
    values = json.loads(decided.read_text())
    decided.write_text(json.dumps(values | {"run": worse}))
    with pytest.raises(UserError, match="knows no such decision"):
        promote(None, params, decided)
    decided.write_text("{}")
    with pytest.raises(UserError, match="is no decision"):
        promote(None, params, decided)


def test_a_decision_that_did_not_pass_promotes_nothing(
    client: MlflowClient, good: str, worse: str, params: Params, tmp_path: Path
) -> None:
    promote("good", params)
    decide("worse", params).write(tmp_path / "decision.json")
    assert promote(None, params, tmp_path / "decision.json")[1] is None
    assert champion(client) == "1"


# Rollback and history


def test_rollbacks_go_back_one_champion_after_the_other(
    client: MlflowClient, good: str, better: str, worse: str, params: Params
) -> None:
    with pytest.raises(UserError, match="has no champion"):
        rollback(params, None, None, None)
    promote("good", params)
    with pytest.raises(UserError, match="first champion"):
        rollback(params, None, None, None)
    promote("better", params)
    promote("worse", params, reason="a test")
    assert rollback(params, None, None, "slow").version == "2"
    assert rollback(params, "reprise", None, None).version == "1"
    assert champion(client) == "1"
    assert rollback(params, None, "3", None).before == "1"
    with pytest.raises(UserError, match="is champion already"):
        rollback(params, None, "3", None)
    with pytest.raises(UserError, match="no version 9"):
        rollback(params, None, "9", None)
    events = Registry.open("reprise").state().events
    assert [(event.number, event.kind, event.version) for event in events] == [
        (1, "promoted", "1"),
        (2, "promoted", "2"),
        (3, "forced", "3"),
        (4, "rolled back", "2"),
        (5, "rolled back", "1"),
        (6, "rolled back", "3"),
    ]
    assert history.champions(events) == ["1", "3"]


def test_an_alias_that_was_moved_by_hand_needs_a_version(
    client: MlflowClient, good: str, better: str, params: Params
) -> None:
    promote("good", params)
    register("better", params)
    client.set_registered_model_alias("reprise", CHAMPION, "2")
    with pytest.raises(UserError, match="became champion without Reprise"):
        rollback(params, None, None, None)
    assert rollback(params, None, "1", None).before == "2"


def test_a_registered_model_is_fetched_once(good: str, params: Params, model: Path) -> None:
    promote("good", params)
    folder = of_registry("reprise@champion")
    assert folder is not None
    assert digest.of_folder(folder) == digest.of_folder(model)
    assert of_registry("reprise/1") == folder
    assert of_registry("models/best/deep") is None
    with pytest.raises(UserError, match="no alias 'chamion'"):
        of_registry("reprise@chamion")
    with pytest.raises(UserError, match="no version 7"):
        of_registry("reprise/7")


# The commands


def called(*arguments: str) -> int:
    """The exit code of a command, in this process."""
    from pipeline.cli import reprise

    found = reprise.main(list(arguments), prog_name="reprise", standalone_mode=False)
    return found if isinstance(found, int) else 0


def test_the_commands_from_register_to_history(
    client: MlflowClient, good: str, better: str, worse: str, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("register", "good") == 0
    assert "Registered reprise/1." in capsys.readouterr().out
    assert called("register", "good") == 0
    assert "registered already: reprise/1." in capsys.readouterr().out
    assert called("decide", "good") == 0
    assert Decision.read(Path("decision.json")).run == good
    assert called("promote", "--decision", "decision.json") == 0
    assert "Version 1 of 'reprise' is champion." in capsys.readouterr().out
    assert called("decide", "worse", "--output", "worse.json", "--json") == 3
    assert json.loads(capsys.readouterr().out)["verdict"] == "not passed"
    assert called("promote", "worse") == 3
    assert "The champion stays." in capsys.readouterr().out
    assert called("promote", "better") == 0
    assert called("rollback", "--reason", "too slow") == 0
    assert "Version 1 is champion again, in place of version 2." in capsys.readouterr().out
    assert called("history", "--csv") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["kind"] for row in rows] == ["promoted", "promoted", "rolled back"]
    assert rows[2]["reason"] == "too slow"
    assert all(row["who"] and row["when"] for row in rows)
    assert called("history") == 0
    assert "rolled back" in capsys.readouterr().out


def test_force_and_reason_go_together(params: Params) -> None:
    for wrong in (["--force"], ["--reason", "x"], ["--force", "--reason", " "]):
        with pytest.raises(click.UsageError, match="go together"):
            called("promote", *wrong)


def test_no_history_yet_says_so(params: Params) -> None:
    with pytest.raises(UserError, match="Nothing was promoted under the name 'reprise' yet"):
        called("history")
    assert params_file.read(project.PARAMS).tracking.model == "reprise"
