from typing import Any

import pyarrow as pa
import pytest

from pipeline.data.rows import with_source
from pipeline.data.tagged import iob2, labels_of, tags_column, words_column
from pipeline.errors import UserError


def table(**columns: list[Any]) -> pa.Table:
    size = len(next(iter(columns.values())))
    ids = [f"x.jsonl:{row + 1}" for row in range(size)]
    return with_source(pa.table({"id": ids, **columns}), "data/raw/x.jsonl")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),
        ("I-PER B-PER I-PER", "B-PER B-PER I-PER"),
        ("I-PER I-LOC I-PER", "B-PER B-LOC B-PER"),
        ("B-PER I-PER O B-LOC B-LOC", "B-PER I-PER O B-LOC B-LOC"),
        ("I-geo-loc I-geo-loc", "B-geo-loc I-geo-loc"),
        ("", ""),
    ],
)
def test_iob1_and_iob2_become_iob2(given: str, meant: str) -> None:
    assert iob2(given.split()) == meant.split()
    assert iob2(meant.split()) == meant.split()


def test_every_type_has_two_labels() -> None:
    assert labels_of(["LOC", "PER"]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([["O"], ["O"]], r"data/raw/x.jsonl, line 2: 2 words, but 1 tag in 'ner_tags'"),
        ([["O"], ["O", "PER"]], r"line 2: the tag 'PER' in 'ner_tags' is none of IOB1 or IOB2.\nA tag is O, or B-"),
        ([["O"], ["O", "B-"]], r"line 2: the tag 'B-'"),
        ([["O"], ["o", "O"]], r"line 2: the tag 'o'"),
        ([["O"], None], r"line 2: the column 'ner_tags' is None, where a list of tags is due"),
        ([["O"], ["O", None]], r"line 2: the column 'ner_tags' is \['O', None\]"),
        (
            [[0], [0, 1]],
            r"line 1: the column 'ner_tags' is \[0\], where .* or of numbers in a file that has their names",
        ),
        (["O", "O O"], r"line 1: the column 'ner_tags' is 'O', where"),
    ],
)
def test_tags_that_are_none_are_named_by_their_row(tags: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tags_column(table(ner_tags=tags), "ner_tags", [["a"], ["b", "c"]])


def test_words_are_lists_of_texts() -> None:
    assert words_column(table(tokens=[["a", "b c"], []]), "tokens") == [["a", "b c"], []]
    with pytest.raises(UserError, match=r"line 2: the column 'tokens' is 'two words', where a list of words is due"):
        words_column(table(tokens=["one", "two words"]).slice(1), "tokens")
    with pytest.raises(UserError, match="Did you mean 'tokens'"):
        words_column(table(tokens=[["a"]]), "token")
