"""What somebody asks is taken as it is meant, whatever format it comes from, or refused with what is wrong."""

import json

import pytest

from pipeline.data.conversations import parsed
from pipeline.serving.asking import is_blank, kind, settled

TEXT, OPTIONAL, WORDS = "A text.", "", ["Some", "words"]
MESSAGES = [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    ("value", "like", "expected"),
    [
        ("[a] text", TEXT, "[a] text"),
        (None, OPTIONAL, ""),
        (["x", "y"], WORDS, ["x", "y"]),
        ('["x", "y"]', WORDS, ["x", "y"]),
        ("x y", WORDS, "x y"),
        ("[x] y", WORDS, "[x] y"),
    ],
)
def test_texts_and_words_are_taken(value: object, like: object, expected: object) -> None:
    assert settled(value, like) == expected


@pytest.mark.parametrize("value", [MESSAGES, json.dumps(MESSAGES), [{"from": "human", "value": "Hello?"}], "Hello?"])
def test_messages_of_every_spelling_become_the_same(value: object) -> None:
    assert parsed(str(settled(value, MESSAGES))) == MESSAGES


@pytest.mark.parametrize(
    ("value", "like", "said"),
    [
        (7, TEXT, "holds 7, which is no text$"),
        (["x"], TEXT, "which is no text$"),
        (["x", 7], WORDS, r"holds \['x', 7\], which is no text or list of words$"),
        ({"x": 1}, WORDS, "which is no text or list of words$"),
        ([{"role": "usr", "content": "x"}], MESSAGES, "the role 'usr' is unknown"),
        (7, MESSAGES, "holds 7"),
        ("half \ud83d a pair", TEXT, "half a UTF-16 pair"),
        (["half \ud83d"], WORDS, "half a UTF-16 pair"),
    ],
)
def test_anything_else_is_refused(value: object, like: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settled(value, like)


def test_what_is_missing_or_empty_is_blank_unless_the_example_is_empty_there() -> None:
    assert all(is_blank(value, TEXT) for value in (None, "", " \n"))
    no_words: tuple[object, ...] = (None, "", [], "[]")
    assert all(is_blank(value, WORDS) for value in no_words)
    assert not any(is_blank(value, OPTIONAL) for value in (None, "", "x"))
    assert not is_blank(0, TEXT), "it is of another kind, which is told"


def test_kinds_are_named() -> None:
    assert [kind(like) for like in (TEXT, WORDS, MESSAGES)] == [
        "text",
        "text or list of words",
        "text or list of messages",
    ]
