"""Rows are matched by what they say, and labels by their names."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evaluation import examples
from pipeline.evaluation.examples import Examples, keys_of
from pipeline.evaluation.matching import match, mismatch
from pipeline.tasks.text_classification import TextClassification

ROWS = [("t.csv:2", "one", "a"), ("t.csv:3", "two", "b"), ("t.csv:4", "two", "b"), ("t.csv:5", "four", "c")]


def answered(rows: list[tuple[str, str, str]], said: str, labels: str = "abc") -> Examples:
    """Examples of which each is answered with a letter of `said`."""
    ids, texts, targets = zip(*rows, strict=True)
    numbers = {name: place for place, name in enumerate(labels)}
    target = [numbers[name] for name in targets]
    keys = keys_of(pa.table({"text": texts, "label": target}), labels)
    predictions = {
        "target": np.array(target),
        "prediction": np.array([numbers[name] for name in said]),
        "score": np.linspace(0.5, 0.9, len(rows)),
        "loss": np.linspace(0.1, 1.0, len(rows)),
    }
    length = np.array([str(len(text)) for text in texts], dtype=object)
    return Examples(
        TextClassification(tuple(labels)), np.array(ids, dtype=object), keys, predictions, {"length": length}
    )


def names(found: Examples, column: str) -> list[str]:
    return [found.task.labels[place] for place in found.predictions[column]]


def test_rows_in_another_order_and_labels_numbered_otherwise_are_the_same() -> None:
    first, second = answered(ROWS, "abba"), answered(ROWS[::-1], "cbab", "cab")
    assert first.digest == second.digest
    assert not mismatch(first, second)
    one, two = match([first, second])
    assert list(one.keys) == list(two.keys) == list(first.keys)
    assert one.task == two.task
    assert (one.predictions["target"] == two.predictions["target"]).all()
    # The two equal rows are told apart by the order in which they stand.
    assert names(two, "prediction") == ["b", "b", "a", "c"]
    assert two.slices["length"].tolist() == ["3", "3", "3", "4"]
    assert one.task.scores(one.predictions) == first.task.scores(first.predictions)
    assert two.task.scores(two.predictions) == pytest.approx(second.task.scores(second.predictions))


def test_it_says_how_rows_differ() -> None:
    first = answered(ROWS, "abba")
    other = [("t.csv:2", "one", "b"), ("t.csv:3", "two", "b"), ("t.csv:4", "changed", "b"), ("t.csv:9", "new", "a")]
    found = mismatch(first, answered(other, "abba"))
    assert (found.only_first, found.only_second, found.changed, found.retargeted) == (3, 3, 1, 1)
    assert str(found) == (
        "3 rows only in the first; 3 rows only in the second; 1 row at the same place with another target; "
        "1 row at the same place with another text"
    )
    one, two = match([first, answered(other, "abba")])
    assert one.ids.tolist() == two.ids.tolist() == ["t.csv:3"]


def test_a_label_that_only_one_knows_is_said_and_numbered_behind_the_others() -> None:
    first, second = answered(ROWS, "abba"), answered(ROWS, "xbcx", "xabc")
    assert str(mismatch(first, second)) == "labels that only the second knows: x"
    _, two = match([first, second])
    assert two.task.labels == ("a", "b", "c", "x")
    assert names(two, "prediction") == ["x", "b", "c", "x"]


@pytest.mark.parametrize("labels", ["abc", "cba"])
def test_what_was_written_and_read_is_matched_as_well(tmp_path: Path, labels: str) -> None:
    found = answered(ROWS, "abba", labels)
    examples.write(tmp_path / "x.parquet", "text-classification", found)
    first, second = match([answered(ROWS, "abba"), examples.read(tmp_path / "x.parquet")])
    assert names(first, "prediction") == names(second, "prediction")
    assert (first.predictions["target"] == second.predictions["target"]).all()
