"""Words in a text: where they stand, and which token each begins with."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import pyarrow as pa

NO_WORD = -1
"""In place of a word, where a token begins none."""

_WORD = re.compile(r"\S+")
_FAR = np.iinfo(np.int64).max

Place = tuple[int, int]
"""Where a word begins and ends in its text, in characters."""


def asked(given: str | list[str]) -> tuple[str, list[str], list[Place]]:
    """A plain text, or the text of a list of words, with its words and where they stand in it.

    The words of a plain text are what stands between its white space.
    """
    if isinstance(given, str):
        found = list(_WORD.finditer(given))
        return given, [match[0] for match in found], [match.span() for match in found]
    text, places = joined(given)
    return text, given, places


def joined(words: Sequence[str]) -> tuple[str, list[Place]]:
    """The text of words with spaces between them, and where each word stands in it."""
    ends = np.cumsum([len(word) + 1 for word in words], dtype=np.int64) - 1
    return " ".join(words), [(int(end) - len(word), int(end)) for end, word in zip(ends, words, strict=True)]


def first_tokens(places: Sequence[Place], windows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Which word begins with which token, in every window of a text.

    Args:
        places: of the words.
        windows: where each token begins and ends in the text, (tokens, 2); below 0 for tokens that are not of it.

    Returns:
        For every window, (tokens,) int32: a word where its first token stands, else `NO_WORD`.
    """
    starts, ends = np.array([*places, (_FAR, _FAR)], np.int64).T
    begun: np.ndarray = np.full(len(starts), _FAR)
    found = []
    for window in windows:
        word = np.searchsorted(ends, window[:, 0], side="right")  # the first that ends behind the token's beginning
        inside = np.flatnonzero((window[:, 0] >= 0) & (window[:, 1] > starts[word]))
        words, first = np.unique(word[inside], return_index=True)
        tokens = inside[first]
        begun[words] = np.minimum(begun[words], window[tokens, 0])
        found.append((words, tokens))
    of_windows = []
    for window, (words, tokens) in zip(windows, found, strict=True):
        # A window may begin inside a word, whose first token stands in the window before.
        begins = window[tokens, 0] == begun[words]
        of_tokens = np.full(len(window), NO_WORD, np.int32)
        of_tokens[tokens[begins]] = words[begins]
        of_windows.append(of_tokens)
    return of_windows


def of_examples(examples: pa.Table, words: Sequence[Sequence[str]]) -> Iterator[tuple[int, list[np.ndarray]]]:
    """The rows of encoded examples, each with what `first_tokens` finds in its windows.

    Args:
        examples: with offsets, of the texts that `joined` makes of the words; those of a row one after the other.
        words: of every row.
    """
    rows = examples["row"].to_numpy() if "row" in examples.column_names else np.arange(len(examples))
    offsets = [np.array(flat, np.int64).reshape(-1, 2) for flat in examples["offsets"].to_pylist()]
    for row, windows in groupby(range(len(rows)), key=rows.tolist().__getitem__):
        _, places = joined(words[row])
        yield row, first_tokens(places, [offsets[window] for window in windows])
