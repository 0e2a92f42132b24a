"""A row that is cut keeps its special tokens, and of its texts what fits."""

import pytest

from pipeline.data.windows import windows

ALONE = [None, 0, 0, 0, 0, 0, None]
PAIR = [None, 0, 0, 0, None, 1, 1, 1, 1, None]


def test_windows_share_tokens_and_end_with_the_text() -> None:
    found = [places.tolist() for places in windows(ALONE, 5, 1, "longest_first", "right")]
    assert found == [[0, 1, 2, 3, 6], [0, 3, 4, 5, 6]]


def test_on_the_left_the_last_tokens_come_first() -> None:
    found = [places.tolist() for places in windows(ALONE, 4, 0, "longest_first", "left")]
    assert found == [[0, 4, 5, 6], [0, 2, 3, 6], [0, 1, 6]]


@pytest.mark.parametrize(
    ("most", "kept"),
    [(9, [0, 1, 2, 3, 4, 5, 6, 7, 9]), (8, [0, 1, 2, 4, 5, 6, 7, 9]), (7, [0, 1, 2, 4, 5, 6, 9])],
    ids=["the longer one", "both", "to one half each"],
)
def test_the_longest_is_cut_first(most: int, kept: list[int]) -> None:
    assert next(windows(PAIR, most, 0, "longest_first", "right")).tolist() == kept


def test_the_first_text_may_stay_whole() -> None:
    found = [places.tolist() for places in windows(PAIR, 8, 0, "only_second", "right")]
    assert found == [[0, 1, 2, 3, 4, 5, 6, 9], [0, 1, 2, 3, 4, 7, 8, 9]]


def test_each_window_of_one_text_meets_each_of_the_other() -> None:
    found = [tuple(places.tolist()[1:-1]) for places in windows(PAIR, 6, 0, "longest_first", "right")]
    assert found == [(1, 4, 5, 6), (2, 4, 5, 6), (2, 4, 7, 8), (3, 4, 5, 6), (3, 4, 7, 8), (1, 4, 7, 8)]


@pytest.mark.parametrize("stride", [0, 15, 29, 32, 64])
def test_windows_of_a_pair_hold_every_token_and_share_at_most_half(stride: int) -> None:
    pair = [None, *[0] * 100, None, *[1] * 100, None]
    found = [set(places.tolist()) for places in windows(pair, 64, stride, "longest_first", "right")]
    assert set.union(*found) == set(range(len(pair)))
    assert len(found) <= 36, "six windows of each text"


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_without_room_gives_one_window(side: str) -> None:
    assert [places.tolist() for places in windows([None, *[0] * 9, None], 2, 1, "longest_first", side)] == [[0, 10]]
