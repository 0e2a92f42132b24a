"""Which tokens a row that is too long keeps: those that `tokenizers` keeps where it cuts the row itself."""

from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import Literal

import numpy as np

# What is shortened of a pair, as transformers names it.
Truncation = Literal["longest_first", "only_second"]


def windows(
    text_of: Sequence[int | None], most: int, stride: int, truncation: Truncation, side: str
) -> Iterator[np.ndarray]:
    """The places of the tokens of each window; the first is what truncation keeps.

    Args:
        text_of: the text that each token is of, 0 or 1; None for a special token, which stands in every window.
        most: tokens of a window.
        stride: tokens that neighbouring windows of a text share, at most half of those that they hold of it.
        truncation: what is shortened of a pair; where that is both, each window of one meets each of the other.
        side: where a text is cut off, `right` or `left`.
    """
    texts = np.array(text_of, float)  # None becomes nan
    special, *of_texts = (np.flatnonzero(chosen) for chosen in (np.isnan(texts), texts == 0, texts == 1))
    rooms = _rooms(len(of_texts[0]), len(of_texts[1]), most - len(special), truncation)
    one, two = (list(_parts(places, room, stride, side)) for places, room in zip(of_texts, rooms, strict=True))
    for chosen in chain(product(one[:1], two[:1]), product(one[1:], two), product(one[:1], two[1:])):
        yield np.sort(np.concatenate([special, *chosen]))


def _rooms(first: int, second: int, room: int, truncation: Truncation) -> tuple[int, int]:
    """How many tokens of each text fit, of a text alone as of a pair whose second text is empty."""
    if truncation == "only_second":
        return first, room - first
    shorter = min(first, second, room // 2)
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def _parts(places: np.ndarray, room: int, stride: int, side: str) -> Iterator[np.ndarray]:
    """The tokens of a text in windows of so many, which share at most half; on the left the last tokens come first."""
    shared = min(stride, room // 2)  # of a pair each text has less room than a window, for which the stride is limited
    for start in range(0, len(places) - shared, room - shared) if len(places) > room > 0 else [0]:
        stop = start + room
        yield places[start:stop] if side == "right" else places[max(len(places) - stop, 0) : len(places) - start]
