"""Promote, roll back: from runs in a real MLflow store, with real models."""

import csv
import json
from pathlib import Path

import click
import pytest
from mlflow import MlflowClient

from pipeline import params_file, project
from pipeline.errors import UserError
from pipeline.evaluation import examples
from pipeline.lifecycle.decide import Decision, decide
from pipeline.lifecycle.promote import promote, rollback
from pipeline.lifecycle.register import register
from pipeline.params import Params, Promotion
from pipeline.tracking import history
from pipeline.tracking.registry import CHAMPION, Registry
from tests.lifecycle.made import (
    answered,
    champion,
    write_test_rows,
)

NON_INFERIOR = Promotion(required="non-inferior", margin=0.05)


# Promote


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


def test_forcing_is_recorded_with_its_reason(client: MlflowClient, good: str, worse: str, params: Params) -> None:
    promote("good", params)
    _, event = promote("worse", params, reason="the other one leaks")
    assert event is not None
    assert (event.kind, event.verdict, event.reason) == ("forced", "not passed", "the other one leaks")
    assert champion(client) == "2"


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


def test_a_decision_that_was_gone_by_is_no_error(client: MlflowClient, decided: Path, params: Params) -> None:
    """A step of CI may be run once more."""
    promote(None, params, decided)
    decision, again = promote(None, params, decided)
    assert decision.passed
    assert again is None
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
