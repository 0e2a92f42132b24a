import numpy as np
import pytest

from pipeline.data.words import NO_WORD, asked, first_tokens

_ = NO_WORD


def places(*words: str) -> list[tuple[int, int]]:
    return asked(list(words))[2]


def test_a_list_of_words_stands_in_its_text_with_spaces_between() -> None:
    text, words, found = asked(["New", "York City", "", "☃"])
    assert text == "New York City  ☃"
    assert [text[start:end] for start, end in found] == words == ["New", "York City", "", "☃"]


def test_the_words_of_a_plain_text_stand_between_its_white_space() -> None:
    text, words, found = asked("  In\tNew \n York.")
    assert words == ["In", "New", "York."]
    assert [text[start:end] for start, end in found] == words
    assert asked("  ") == ("  ", [], [])


@pytest.mark.parametrize(
    ("offsets", "first"),
    [
        ([(-1, -1), (0, 3), (4, 6), (6, 8), (-1, -1)], [_, 0, 1, _, _]),
        ([(0, 3), (3, 6), (6, 8)], [0, 1, _]),  # byte-level: the space belongs to the token
        ([(0, 3), (3, 4), (4, 8)], [0, _, 1]),  # a token of the space alone is no word's
        ([(0, 3), (4, 5), (4, 5), (4, 5), (5, 8)], [0, 1, _, _, _]),  # the bytes of one sign
        ([(4, 8)], [1]),  # the first word has become nothing
        ([(0, 8)], [0]),  # a token of two words is the first one's
    ],
)
def test_a_word_begins_with_its_first_token(offsets: list[tuple[int, int]], first: list[int]) -> None:
    (found,) = first_tokens(places("New", "York"), [np.array(offsets)])
    assert found.tolist() == first


def test_a_window_that_begins_inside_a_word_does_not_begin_it() -> None:
    windows = [np.array([(0, 3), (4, 6)]), np.array([(6, 8), (9, 13)]), np.array([(4, 6), (6, 8)])]
    found = first_tokens(places("New", "York", "City"), windows)
    assert [words.tolist() for words in found] == [[0, 1], [_, 2], [1, _]]


def test_a_text_without_words_has_none() -> None:
    (found,) = first_tokens([], [np.array([(-1, -1), (-1, -1)])])
    assert found.tolist() == [_, _]
