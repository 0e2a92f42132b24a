"""Numbers as targets: what they may be, and what the report says of them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import UserError
from pipeline.params import Data, Train
from pipeline.tasks.text_regression import TextRegression
from pipeline.views import Diagonal, Table


def raw(numbers: list[Any], kind: pa.DataType | None = None, name: str = "label") -> pa.Table:
    ids = [f"train.csv:{row + 2}" for row in range(len(numbers))]
    return pa.table(
        {"id": ids, "sentence1": ["a"] * len(ids), "sentence2": ["b"] * len(ids), name: pa.array(numbers, kind)}
    )


@pytest.mark.parametrize(
    "table",
    [raw([1, 2]), raw(["1", " 2.0 "]), raw([1.0, 2.0]), raw([1, 2], pa.decimal128(5, 1)), raw([1, 2], name="score")],
)
def test_numbers_come_as_numbers_or_as_text(table: pa.Table) -> None:
    task = TextRegression.fit({"train": table}, Data())
    assert task.inputs == ("text", "text_pair")
    rows = task.rows(table, Data())
    assert rows["label"].type == pa.float32()
    assert rows["label"].to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (raw([1.0, None]), "is null"),
        (raw([1.0, float("nan")]), "is nan"),
        (raw([1.0, 1e39]), "is 1e.39"),
        (raw(["1", "high"]), "is 'high'"),
        (raw(["1", ""]), "is ''"),
        (raw([[1.0], [2.0, 3.0]]), r"is \[1.0\]"),
    ],
)
def test_what_is_no_number_names_the_row(table: pa.Table, said: str) -> None:
    with pytest.raises(UserError, match=rf"train.csv, line [23]: the column 'label' {said}, no number"):
        TextRegression.fit({"train": table}, Data())


def test_classes_cannot_be_weighed() -> None:
    with pytest.raises(UserError, match="class_weights: this task has no classes to weigh"):
        TextRegression().check_train(Train(class_weights="balanced"))


def test_the_report_shows_all_rows_and_the_worst() -> None:
    draw = np.random.default_rng(0)
    target = draw.normal(size=2000).astype(np.float32)
    prediction = target + np.where(np.arange(2000) == 7, 9, 0).astype(np.float32)
    rows = pa.table({"id": [str(row) for row in range(2000)], "text": ["t"] * 2000})
    found = {"target": target, "prediction": prediction, "loss": (prediction - target) ** 2}
    picture, table = TextRegression().views(rows, found, 3)
    assert isinstance(picture, Diagonal)
    assert isinstance(table, Table)
    assert sum(count for _, _, count in picture.points) == 2000
    assert len(picture.points) <= 41**2
    assert table.rows[0][0] == "7"
    assert table.rows[0][-1] == pytest.approx(9, abs=1e-5)


def test_scores_of_constant_predictions_are_undefined_but_for_errors() -> None:
    target = np.array([1.0, 2.0, 4.0], np.float32)
    scores = TextRegression().scores({"target": target, "prediction": np.full(3, 2.0), "loss": (target - 2) ** 2})
    assert np.isnan(scores["pearson"])
    assert np.isnan(scores["spearman"])
    assert scores["mse"] == scores["loss"] == pytest.approx(5 / 3)
    assert scores["mae"] == pytest.approx(1)
