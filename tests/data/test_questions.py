from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.questions import NOWHERE, Span, answers_column, sentences, spans_of, tokens_of, trimmed
from pipeline.data.rows import with_source
from pipeline.errors import UserError

CONTEXT = "The axis is an int. It counts from 0."


def read(answers: Any) -> list[dict[str, list[Any]]]:
    rows = pa.table({"id": ["x.json#7"], "answers": [answers]})
    return answers_column(with_source(rows, "data/raw/x.json"), "answers", [CONTEXT])


def test_answers_stand_where_they_say() -> None:
    answers = {"text": ["an int", "int"], "answer_start": [12, 15]}
    assert read({**answers, "kind": "type"}) == [answers]
    assert spans_of(answers) == [Span(12, 18), Span(15, 18)]
    assert spans_of({"text": [" int. "], "answer_start": [14]}) == [Span(15, 19)]
    assert read({"text": [], "answer_start": []}) == [{"text": [], "answer_start": []}]


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"text": ["int"], "answer_start": [14]},
            r"'int' begins at the character 14 .*, which has ' in' there; it begins at 15",
        ),
        ({"text": ["float"], "answer_start": [0]}, r"has 'The a' there; it is not in the context"),
        ({"text": ["0."], "answer_start": [-2]}, r"begins at the character -2"),
        ({"text": ["int"], "answer_start": [99]}, r"which has '' there"),
        ({"text": ["int"], "answer_start": []}, r"has 1 text and 0 places in answer_start"),
        ({"text": [" "], "answer_start": [3]}, r"has an empty text. Where there is no answer, both lists are empty"),
        ({"text": ["int"]}, r"where \{\"text\": .* is due; both lists are empty if there is no answer"),
        ("int", r"is 'int', where"),
        (None, r"is None, where"),
        ({"text": "int", "answer_start": 15}, r"is \{'text': 'int'"),
    ],
)
def test_answers_that_are_none_are_named_by_their_row(answers: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^data/raw/x.json, row 7: 'answers' .*{message}"):
        read(answers)


def test_sentences_end_before_white_space_and_with_paragraphs() -> None:
    text = "One is 1.5 here.  Two?\nYes! A head\n\nwithout a stop  "
    assert [text[slice(*span)] for span in sentences(text)] == [
        "One is 1.5 here.",
        "Two?",
        "Yes!",
        "A head",
        "without a stop",
    ]
    assert sentences(" \n ") == []


def test_a_span_is_trimmed_to_what_is_no_white_space() -> None:
    assert trimmed("a  b c ", Span(1, 7)) == Span(3, 6)
    empty = trimmed("a  b", Span(1, 3))
    assert empty.start >= empty.end


@pytest.mark.parametrize(
    ("span", "tokens"),
    [
        (Span(0, 3), (1, 1)),
        (Span(4, 8), (2, 3)),
        (Span(5, 7), (2, 3)),  # inside of tokens: they hold it all
        (Span(0, 8), (1, 3)),
        (Span(4, 9), None),  # goes on behind the window
        (NOWHERE, None),
    ],
)
def test_a_span_has_its_first_and_last_token(span: Span, tokens: tuple[int, int] | None) -> None:
    window = np.array([(-1, -1), (0, 3), (3, 6), (6, 8), (-1, -1)])  # New, York
    assert tokens_of(span, window) == tokens


def test_a_window_behind_the_beginning_of_a_span_does_not_hold_it() -> None:
    assert tokens_of(Span(0, 8), np.array([(-1, -1), (4, 8)])) is None
    assert tokens_of(Span(0, 8), np.array([(-1, -1)])) is None
