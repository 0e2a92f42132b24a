import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import rows
from pipeline.errors import UserError


def table(source: str = "data/raw/x.csv", mark: str = ":", **columns: object) -> pa.Table:
    size = len(next(iter(columns.values())))  # type: ignore[arg-type]
    ids = [f"x.csv{mark}{row + 2}" for row in range(size)]
    return rows.with_source(pa.table({"id": ids, **columns}), source)


def labels(values: object, kind: pa.DataType | None = None) -> list[str]:
    return rows.label_column(table(label=pa.array(values, kind)), "label")


def test_the_source_survives_what_is_done_to_a_table() -> None:
    filtered = table(text=["a", "b"]).filter(pa.array([False, True]))
    assert rows.source_of(filtered) == "data/raw/x.csv"
    assert rows.where(filtered, 0) == "data/raw/x.csv, line 3"
    assert rows.source_of(pa.table({"text": ["a"]})) == "the rows"


@pytest.mark.parametrize(
    ("row_id", "words"),
    [
        ("sub/x.csv:17", "sub/x.csv, line 17"),
        ("x.parquet#3", "x.parquet, row 3"),
        ("a#1.csv:5", "a#1.csv, line 5"),
        ("odd", "odd"),
    ],
)
def test_a_place_in_words(row_id: str, words: str) -> None:
    assert rows.where(pa.table({"id": [row_id]}), 0) == words


def test_a_text_column_is_text_with_null_as_empty() -> None:
    for values in (
        pa.array(["a", None]),
        pa.array(["a", None], pa.large_string()),
        pa.array(["a", None]).dictionary_encode(),
    ):
        found = rows.text_column(table(text=values), "text")
        assert found.type == pa.string()
        assert found.to_pylist() == ["a", ""]
    assert rows.text_column(table(text=pa.nulls(2)), "text").to_pylist() == ["", ""]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([None, 5], "5 (int64)"),
        ([None, ["a"]], "['a'] (list<item: string>)"),
        ([None, {"a": 1}], "{'a': 1}"),
        ([None, b"a"], "b'a'"),
    ],
)
def test_what_is_no_text_is_named_with_its_place(values: list[object], shown: str) -> None:
    with pytest.raises(UserError) as caught:
        rows.text_column(table(text=values), "text")
    assert f"data/raw/x.csv, line 3: text that is no text: 'text' is {shown}" in str(caught.value)


def test_labels_are_named_by_their_words() -> None:
    assert labels([" spam", "ham "]) == ["spam", "ham"]
    assert labels([3, -1]) == ["3", "-1"]
    assert labels([3.0, 10.0]) == ["3", "10"]
    assert labels(["1.0", "2", "-3.", "01"]) == ["1", "2", "-3", "01"]
    assert labels(["1.0", "1.5", "other"]) == ["1.0", "1.5", "other"]
    assert labels([True, False]) == ["true", "false"]
    assert rows.label_column(table(label=pa.array(["a", "b"]).dictionary_encode()), "label") == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None], "line 3: the column 'label' is null."),
        ([1, None], "line 3: the column 'label' is null."),
        ([None, None], "line 2: the column 'label' is null."),
        (["a", "  "], "line 3: the column 'label' is empty."),
        ([1.0, float("nan")], "line 3: the column 'label' is NaN, no number."),
        (
            [1.0, 0.5],
            "line 3: the column 'label' is 0.5; a label is a word or a whole number.\nPredicting a quantity",
        ),
        ([1.0, float("inf")], "line 3: the column 'label' is inf;"),
        (["1.0", " 0.5"], "line 3: the column 'label' is 0.5; a label is a word or a whole number.\nPredicting a"),
        (["1", "1e-3"], "line 3: the column 'label' is 1e-3;"),
        (["1", "1" * 5_000], "line 3: the column 'label' is a number of 5,000 digits;"),
        (["1", "." + "1" * 5_000], "line 3: the column 'label' is a number of 5,001 digits;"),
        ([["a"], ["b"]], "line 2: 'label' is ['a'] (list<item: string>): a label is a word or a whole number"),
    ],
)
def test_what_is_no_label_is_named_with_its_place(values: list[object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        labels(values)
    assert f"data/raw/x.csv, {message}" in str(caught.value)


def test_the_order_of_labels() -> None:
    assert rows.label_names(["10", "9", "-1", "9"]) == ("-1", "9", "10")
    assert rows.label_names(["b", "10", "9"]) == ("10", "9", "b")


def test_a_missing_column_lists_those_that_exist_and_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        rows.require_columns(table(text=["a"], label=["b"]), ["text", "lable"], "data.label_column_name")
    assert str(caught.value) == (
        "data.label_column_name: 'lable' is not in data/raw/x.csv; its columns are text, label. Did you mean 'label'?"
    )


def test_a_missing_column_whose_name_nobody_wrote_says_where_to_write_one() -> None:
    with pytest.raises(UserError) as caught:
        rows.require_columns(table(review=["a"], stars=["b"]), ["text"], "data.text_column_names")
    assert str(caught.value).endswith(
        "Set data.text_column_names to what the file has; null stands for the task's own names (docs/tasks.md)."
    )
    with pytest.raises(UserError, match=r"stars\.$"):
        rows.require_columns(table(review=["a"], stars=["b"]), ["text"], "--text-column")


def test_the_column_of_places_is_no_column_of_the_users() -> None:
    with pytest.raises(UserError, match="'id' is the place of a row here"):
        rows.text_column(table(text=["a"]), "id")


def test_a_row_in_place_of_a_header_gets_a_hint() -> None:
    columns = {"a rather long sentence stands here": ["x"], "1": ["0"]}
    with pytest.raises(UserError, match=r"If the file has no header, set data\.column_names"):
        rows.label_column(table(**columns), "label")


def test_many_and_long_columns_are_cut_short() -> None:
    columns = {f"column {place} {'x' * 100}": ["x"] for place in range(30)}
    with pytest.raises(UserError) as caught:
        rows.label_column(table(**columns), "label")
    assert len(str(caught.value)) < 900
    assert ", ...." in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"), [("Straße  in\tRom ", "STRASSE IN ROM"), ("ﬁne", "fine"), ("e\u0301te\u0301", "\u00c9T\u00c9")]
)
def test_texts_that_are_the_same_text(one: str, other: str) -> None:
    assert rows.normalised(one) == rows.normalised(other)
    assert rows.normalised("a b") != rows.normalised("ab")


def test_rows_are_spread_evenly() -> None:
    assert rows.spread(10, 3).tolist() == [0, 4, 9]
    assert np.array_equal(rows.spread(2, 20), [0, 1])
    assert rows.spread(5, 0).tolist() == []
