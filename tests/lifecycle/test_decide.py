"""Deciding: against the champion, those before it, and on test rows that changed."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from pipeline import project
from pipeline.errors import UserError
from pipeline.lifecycle.decide import Decision, decide
from pipeline.lifecycle.promote import promote, rollback
from pipeline.params import Hardware, Params, Promotion
from pipeline.serving.predictor import Predictor
from tests.lifecycle.made import (
    evaluated_again,
    evaluated_run,
    other_model,
    write_test_rows,
)
from tests.serving.exported import LABELS, asked

NON_INFERIOR = Promotion(required="non-inferior", margin=0.05)


def test_looks_at_the_test_set_are_counted(client: MlflowClient, good: str, better: str, params: Params) -> None:
    assert [decide(name, params).looks for name in ("good", "better", "good")] == [1, 2, 3]


def test_a_decision_reads_as_it_was_written(good: str, params: Params, tmp_path: Path) -> None:
    promoted = Promotion(floors={"accuracy": 0.5})
    decision = decide("good", params.model_copy(update={"promotion": promoted}))
    decision.write(tmp_path / "decision.json")
    assert Decision.read(tmp_path / "decision.json") == decision
    assert Decision.read(tmp_path / "decision.json").digest == decision.digest


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
    said = Predictor.load(model, Hardware(use_cpu=True)).answer(asked(rows["text"].to_pylist()))
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
