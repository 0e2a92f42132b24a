"""Groups of rows: how values become groups, and that the worst group comes first."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import slices as raw_slices
from pipeline.errors import UserError
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.slices import MOST_VALUES, NONE, OTHER, group, scored
from pipeline.params import Evaluate, Params
from pipeline.tasks.text_classification import TextClassification


def grouped(values: list[object]) -> list[str]:
    raw = pa.table({"x": values})
    return list(group(["x"], ["a"] * len(values), np.ones(len(values)), raw)["x"])


def test_labels_lengths_and_columns_make_groups() -> None:
    raw = pa.table({"source": ["web", " web ", "mail", None]})
    found = group(["label", "length", "source"], ["a", "b", "a", "a"], np.array([3, 4, 5, 90], np.int32), raw)
    assert {name: values.tolist() for name, values in found.items()} == {
        "label": ["a", "b", "a", "a"],
        "length": ["3", "4", "5", "90"],
        "source": ["web", "web", "mail", NONE],
    }


def test_lengths_and_numbers_are_cut_into_quarters() -> None:
    lengths = np.arange(1, 101)
    found = group(["length"], ["a"] * 100, lengths, pa.table({"id": ["x"] * 100}))["length"]
    assert list(dict.fromkeys(found)) == ["1 to 25", "26 to 50", "51 to 75", "76 to 100"]
    assert grouped([*map(str, range(100)), ""])[-2:] == ["75 to 99", NONE]
    assert set(grouped([*np.linspace(0, 1, 9), None])) == {
        "0 to 0.25",
        "0.375 to 0.5",
        "0.625 to 0.75",
        "0.875 to 1",
        NONE,
    }


def test_equal_numbers_stay_together() -> None:
    assert set(grouped([1.0] * 90 + [float(number) for number in range(2, 12)])) == {"1", "2 to 11"}


def test_few_numbers_and_truth_values_stay_as_they_are() -> None:
    assert set(grouped([1, 2, 3, 4, 5] * 4)) == {"1", "2", "3", "4", "5"}
    assert set(grouped([True, False, None])) == {"true", "false", NONE}


def test_of_too_many_values_the_rarest_are_one_group() -> None:
    values = [f"v{number:02}" for number in range(30) for _ in range(30 - number)]
    found = grouped(values)
    assert len(set(found)) == MOST_VALUES
    assert found.count(OTHER) == sum(30 - number for number in range(MOST_VALUES - 1, 30))
    assert "v18" in found
    assert "v19" not in found


def test_groups_are_scored_the_worst_first() -> None:
    source = np.array(["mail"] * 40 + ["web"] * 60, dtype=object)
    right = np.concatenate([np.arange(40) % 2 == 0, np.arange(60) % 6 > 0])
    target = np.zeros(100, np.int64)
    predictions = {"target": target, "prediction": np.where(right, 0, 1), "score": np.ones(100), "loss": np.ones(100)}
    names = np.array([str(row) for row in range(100)], dtype=object)
    task = TextClassification(("a", "b"))
    found = scored(Examples(task, names, names, predictions, {"source": source}), Evaluate(n_resamples=300))
    assert list(found["source"]) == ["mail", "web"]
    mail = found["source"]["mail"]
    assert (mail["rows"], mail["accuracy"]["value"]) == (40, 0.5)
    assert 0.3 < mail["accuracy"]["low"] < 0.4
    assert 0.6 < mail["accuracy"]["high"] < 0.7


def test_columns_of_lists_are_refused() -> None:
    table = pa.table({"id": ["x"], "tags": [["a", "b"]]})
    with pytest.raises(UserError, match=r"evaluate.slices: the column 'tags' holds \['a', 'b'\]"):
        raw_slices.check({"test": table}, ["text"], Params(evaluate=Evaluate(slices=["tags"])))


def test_texts_of_rows_are_no_names_of_groups_unless_mlflow_may_have_them() -> None:
    tables = {"test": pa.table({"id": ["x"], "text": ["a"], "label": ["b"]})}
    with pytest.raises(UserError, match=r"evaluate.slices: 'text' is a text column"):
        raw_slices.check(tables, ["text"], Params(evaluate=Evaluate(slices=["label", "text"])))
    raw_slices.check(tables, ["text"], Params(evaluate=Evaluate(slices=["text"], publish_texts="mlflow")))
    raw_slices.check(tables, ["length"], Params(evaluate=Evaluate(slices=["length"])))
