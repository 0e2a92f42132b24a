import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from pipeline.data import audit as auditing
from pipeline.errors import UserError

LABELS = ("bad", "good", "odd")


def texts(rows: pa.Table) -> list[tuple[str, ...]]:
    columns = [rows[name].to_pylist() for name in ("text", "text_pair") if name in rows.column_names]
    return list(zip(*columns, strict=True))


def decontaminate(splits: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    return auditing.decontaminate(splits, texts)


def audit(before: Mapping[str, pa.Table], after: Mapping[str, pa.Table], labels: Sequence[str]) -> dict[str, Any]:
    return auditing.audit(before, after, texts, labels)


def table(*rows: tuple[str, int]) -> pa.Table:
    texts, labels = zip(*rows, strict=True)
    return pa.table(
        {
            "id": [f"x#{row}" for row in range(len(rows))],
            "text": pa.array(texts, pa.string()),
            "label": pa.array(labels, pa.int32()),
        }
    )


def pairs(*rows: tuple[str, str]) -> pa.Table:
    first, second = zip(*rows, strict=True)
    return pa.table({"text": first, "text_pair": second, "label": pa.array([0] * len(rows), pa.int32())})


SPLITS = {
    "train": table(("A film", 1), ("a  FILM", 0), ("bad", 0), ("bad", 0), ("worse one here", 0), (" ", 1), ("leak", 2)),
    "validation": table(("fresh", 1), ("Leak", 0), ("shared", 0)),
    "test": table(("leak", 2), ("shared", 0), ("a film", 1)),
}


def test_decontaminate_removes_training_rows_whose_texts_are_evaluated() -> None:
    found = decontaminate(SPLITS)
    assert found["train"]["text"].to_pylist() == ["bad", "bad", "worse one here", " "]
    assert found["validation"] is SPLITS["validation"]
    assert found["test"] is SPLITS["test"]


def test_pairs_are_the_same_only_if_both_texts_are() -> None:
    splits = {"train": pairs(("a", "b"), ("a", "c"), ("ab", "c")), "test": pairs(("A", "C"), ("a", "bc"))}
    assert decontaminate(splits)["train"].to_pylist() == pairs(("a", "b"), ("ab", "c")).to_pylist()


def test_no_training_row_left_is_an_error() -> None:
    splits = {"train": table(("a", 0), ("b", 1)), "validation": table(("b", 1)), "test": table(("A", 0), ("b", 1))}
    with pytest.raises(UserError) as caught:
        decontaminate(splits)
    said = str(caught.value)
    assert "the texts of all 2 are also in validation or test (1 in validation and 2 in test)." in said
    assert "If data.test_file is a copy of data.train_file, name a file with other rows" in said


def test_the_counts() -> None:
    found = audit(SPLITS, decontaminate(SPLITS), LABELS)
    train = found["splits"]["train"]
    assert train == {
        "rows": 4,
        "removed": 3,
        "empty_texts": 1,
        "exact_duplicates": 1,
        "normalised_duplicates": 1,
        "labels": {
            "bad": {"rows": 3, "share": 0.75},
            "good": {"rows": 1, "share": 0.25},
            "odd": {"rows": 0, "share": 0.0},
        },
        "missing_labels": ["odd"],
        "rare_labels": ["good"],
        "words": {"min": 0, "p25": 1, "median": 1, "p75": 1, "p95": 3, "max": 3},
    }
    assert found["across"] == [
        {"splits": ["train", "validation"], "exact": 0, "normalised": 1},
        {"splits": ["train", "test"], "exact": 1, "normalised": 3},
        {"splits": ["validation", "test"], "exact": 1, "normalised": 2},
    ]
    assert found["conflicting"] == {"texts": 1, "rows": 2}


def test_the_warnings() -> None:
    assert audit(SPLITS, decontaminate(SPLITS), LABELS)["warnings"] == [
        "3 rows were removed from train, because their texts are also in validation or test.",
        "2 rows of validation have a text that is also in test: they help to pick the best model.",
        "1 text stands with different labels (2 rows); no model can get all of them right.",
        "1 row of train has an empty text.",
        "1 row of train (25.0%) repeats an earlier text.",
        "train has no row with the label 'odd'.",
        "train has a single row with the label 'good'.",
        "validation has only 3 rows: its scores are uncertain.",
        "validation has no row with the label 'odd'.",
        "validation has a single row with the label 'good'.",
        "test has only 3 rows: its scores are uncertain.",
        "test has a single row each with the labels 'bad', 'good', 'odd'.",
    ]


def test_one_row_is_told_in_the_singular() -> None:
    splits = {
        "train": table(("leak", 0), ("a", 0), ("b", 1)),
        "validation": table(("shared", 0), ("c", 1)),
        "test": table(("leak", 0), ("shared", 0), ("d", 1)),
    }
    said = audit(splits, decontaminate(splits), ("one", "other"))["warnings"]
    assert said[:2] == [
        "1 row was removed from train, because its text is also in validation or test.",
        "1 row of validation has a text that is also in test: it helps to pick the best model.",
    ]


def test_leaks_that_stay_are_said() -> None:
    found = audit(SPLITS, SPLITS, LABELS)
    assert found["splits"]["train"]["removed"] == 0
    assert (
        "1 row of train has a text that is also in validation: scores on validation flatter the model."
        in (found["warnings"])
    )


def test_a_clean_set_has_no_warnings() -> None:
    splits = {
        split: table(*((f"{split} {row} {label}", label) for row in range(50) for label in range(3)))
        for split in ("train", "validation", "test")
    }
    assert audit(splits, decontaminate(splits), LABELS)["warnings"] == []


def test_imbalance_and_labels_that_look_alike_are_said() -> None:
    train = table(*((f"a {row}", 0) for row in range(60)), *((f"b {row}", 1) for row in range(3)))
    splits = {"train": train, "validation": train.slice(0, 0), "test": train.slice(0, 0)}
    said = audit(splits, splits, ("Spam", "spam "))["warnings"]
    assert any(line.startswith("In train the label 'Spam' has 60 rows and 'spam ' 3: accuracy says") for line in said)
    assert "The labels 'Spam' and 'spam ' differ only in case or spacing; are they one?" in said


def test_it_is_json_and_the_same_every_time() -> None:
    first = json.dumps(audit(SPLITS, decontaminate(SPLITS), LABELS))
    assert first == json.dumps(audit(SPLITS, decontaminate(SPLITS), LABELS))


def test_pairs_are_counted_by_both_texts() -> None:
    rows = pairs(("a b", "c"), ("a b", ""), ("A B", "C"))
    facts = audit({"train": rows}, {"train": rows}, ("one",))["splits"]["train"]
    assert (facts["empty_texts"], facts["exact_duplicates"], facts["normalised_duplicates"]) == (1, 0, 1)
    assert (facts["words"]["min"], facts["words"]["max"]) == (2, 3)
