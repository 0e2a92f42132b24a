from collections import Counter
from collections.abc import Mapping

import pyarrow as pa
import pytest

from pipeline.data import splits
from pipeline.data.rows import with_source
from pipeline.errors import UserError
from pipeline.params import Data

DATA = Data()


def cut(tables: Mapping[str, pa.Table], data: Data) -> dict[str, pa.Table]:
    """The splits of rows whose label is their stratum."""

    def texts(rows: pa.Table) -> list[tuple[str, ...]]:
        columns = [rows[name].to_pylist() for name in ("text", "text_pair") if name in rows.column_names]
        return list(zip(*columns, strict=True))

    return splits.cut(tables, texts, lambda rows: rows["label"].to_pylist(), data)


def table(texts: list[str], labels: list[str]) -> pa.Table:
    return pa.table({"id": [f"x.csv:{row}" for row in range(len(texts))], "text": texts, "label": labels})


def many(size: int = 1000) -> pa.Table:
    """Rows of which a tenth has the label c, and the rest a or b."""
    return table(
        [f"text {row}" for row in range(size)], ["c" if row % 10 == 0 else "ab"[row % 2] for row in range(size)]
    )


def split_of(splits: dict[str, pa.Table]) -> dict[str, str]:
    return {row_id: split for split, rows in splits.items() for row_id in rows["id"].to_pylist()}


def test_every_row_is_in_one_split_and_the_shares_hold_label_by_label() -> None:
    found = cut({"train": many()}, Data(validation_split_percentage=20, test_split_percentage=10))
    assert list(found) == ["train", "validation", "test"]
    assert len(split_of(found)) == sum(map(len, found.values())) == 1000
    for label, size in Counter(many()["label"].to_pylist()).items():
        counts = {split: rows["label"].to_pylist().count(label) for split, rows in found.items()}
        assert counts["validation"] == round(0.2 * size)
        assert counts["test"] == round(0.1 * size)


def test_rows_keep_the_order_of_the_source() -> None:
    for rows in cut({"train": many()}, DATA).values():
        places = [int(row_id.split(":")[1]) for row_id in rows["id"].to_pylist()]
        assert places == sorted(places)


def test_the_same_seed_cuts_the_same_rows_whatever_their_order_or_place() -> None:
    first = split_of(cut({"train": many()}, DATA))
    turned = many().take(list(range(999, -1, -1)))
    assert split_of(cut({"train": turned}, DATA)) == first
    assert split_of(cut({"train": many()}, Data(split_seed=43))) != first


def test_rows_that_are_added_move_few_others() -> None:
    before = split_of(cut({"train": many(1000)}, DATA))
    after = split_of(cut({"train": many(1020)}, DATA))
    moved = [row_id for row_id, split in before.items() if after[row_id] != split]
    assert len(moved) <= 20


def test_equal_texts_stay_together() -> None:
    texts = [f"Text {row // 3}" if row % 3 else f"text  {row // 3}" for row in range(900)]
    found = cut({"train": table(texts, ["a", "b", "c"] * 300)}, DATA)
    assert len(found["test"]) == 90
    one_label = cut({"train": table(texts, ["a"] * 900)}, DATA)
    seen = {
        split: {text.casefold().replace(" ", "") for text in rows["text"].to_pylist()}
        for split, rows in one_label.items()
    }
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["test"] & seen["validation"]
    assert len(one_label["test"]) == 90


def test_a_text_that_fills_most_of_a_label_stays_in_train() -> None:
    texts = ["the same"] * 80 + [f"text {row}" for row in range(20)]
    found = cut({"train": table(texts, ["a"] * 100)}, DATA)
    assert found["train"]["text"].to_pylist().count("the same") == 80
    assert len(found["test"]) == len(found["validation"]) == 10


def test_a_label_with_three_texts_is_in_every_split_and_one_with_two_in_train() -> None:
    texts = ["a1", "a2", "a3", "b1", "b2", "c1", "c1", "c1"]
    found = cut({"train": table(texts, ["a", "a", "a", "b", "b", "c", "c", "c"])}, DATA)
    assert {split: rows["label"].to_pylist() for split, rows in found.items()} == {
        "train": ["a", "b", "b", "c", "c", "c"],
        "validation": ["a"],
        "test": ["a"],
    }


def test_large_shares_leave_rows_for_training() -> None:
    texts = [f"text {row}" for row in range(4)]
    found = cut({"train": table(texts, ["a"] * 4)}, Data(validation_split_percentage=50, test_split_percentage=40))
    assert all(len(rows) for rows in found.values())


def test_a_split_that_is_given_stays_as_it_is() -> None:
    given = table(["x", "y"], ["a", "b"])
    found = cut({"train": many(), "test": given}, DATA)
    assert found["test"] is given
    assert len(found["validation"]) == 100
    assert len(found["train"]) == 900
    complete = {"train": many(), "validation": given, "test": given}
    assert cut(complete, DATA)["train"] is complete["train"]


def test_a_row_of_a_given_split_is_not_cut_into_another() -> None:
    given = many().slice(0, 300)
    found = cut({"train": many(), "test": given}, DATA)
    assert not set(found["validation"]["text"].to_pylist()) & set(given["text"].to_pylist())


def test_pairs_are_cut_by_both_texts() -> None:
    rows = many().append_column("text_pair", pa.array([f"other {row}" for row in range(1000)]))
    pairs = cut({"train": rows}, DATA)
    assert split_of(pairs) != split_of(cut({"train": many()}, DATA))
    assert len(pairs["test"]) == 100


def test_what_cannot_be_cut_says_why() -> None:
    with pytest.raises(UserError, match=r"no label has three different texts.*\n.*set data\.validation_file"):
        cut({"train": table(["a", "b"], ["x", "y"])}, DATA)


def test_rows_without_strata_are_cut_as_one() -> None:
    found = splits.cut({"train": many()}, lambda rows: [(text,) for text in rows["text"].to_pylist()], nothing, DATA)
    assert {split: len(rows) for split, rows in found.items()} == {"train": 800, "validation": 100, "test": 100}
    two = table(["a", "b"], ["x", "y"])
    with pytest.raises(UserError, match="there are not three different texts"):
        splits.cut({"train": two}, lambda rows: [(text,) for text in rows["text"].to_pylist()], nothing, DATA)


def nothing(rows: pa.Table) -> list[None]:
    return [None] * len(rows)


def test_a_test_file_that_repeats_the_training_file_is_told() -> None:
    train, test = (with_source(many(200), f"data/raw/{name}.csv") for name in ("train", "test"))
    data = Data(dataset_name=None, train_file="data/raw/train.csv", test_file="data/raw/test.csv")
    with pytest.raises(UserError) as caught:
        cut({"train": train, "test": test}, data)
    assert str(caught.value) == (
        "data.test_file: data/raw/test.csv holds the same texts as data/raw/train.csv (200 of its 200 rows),\n"
        "which leaves too few to cut a validation split off. Give test rows of its own, or set data.test_file to "
        "null: it is then cut from the training rows."
    )
    with pytest.raises(UserError) as caught:
        cut({"train": train, "test": with_source(test, "a/b (test)")}, Data(dataset_name="a/b"))
    assert str(caught.value).startswith("a/b (test) holds the same texts as ")
    assert "null" not in str(caught.value)
