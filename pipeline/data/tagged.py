"""Rows of words and their tags: `O` outside of entities, `B-PER` and `I-PER` inside one of the type PER.

Two schemes are in use (Tjong Kim Sang and Veenstra, "Representing Text Chunks", EACL 1999). In IOB2 every entity begins
with `B-`; in IOB1, as the files of CoNLL-2003 have it, only one that follows another of its type without a gap. Read as
IOB1 a row of IOB2 means the same, so nobody has to say which of them a file has.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from pipeline.data.rows import require_columns, shown, where
from pipeline.errors import UserError, counted

OUTSIDE = "O"
_BEGIN, _INSIDE = "B-", "I-"


def labels_of(types: Sequence[str]) -> tuple[str, ...]:
    """All tags that entities of these types can have, `O` first."""
    return (OUTSIDE, *(f"{begin}{kind}" for kind in types for begin in (_BEGIN, _INSIDE)))


def type_of(tag: str) -> str | None:
    """The type of the entity that a tag is part of; None outside of entities."""
    return None if tag == OUTSIDE else tag[len(_BEGIN) :]


def iob2(tags: Sequence[str]) -> list[str]:
    """Tags of IOB1 or IOB2 as tags of IOB2: an entity that begins with `I-` begins with `B-`."""
    before = (OUTSIDE, *tags)
    return [
        f"{_BEGIN}{type_of(tag)}" if tag.startswith(_INSIDE) and type_of(last) != type_of(tag) else tag
        for last, tag in zip(before, tags, strict=False)
    ]


def words_column(table: pa.Table, name: str) -> list[list[str]]:
    """The words of every row.

    Raises:
        UserError: the column is missing, or a value is no list of words.
    """
    require_columns(table, [name], "data.text_column_names")
    return _lists(table, name, 'a list of words is due, such as ["U.N.", "official"]')


def tags_column(table: pa.Table, name: str, words: Sequence[Sequence[str]]) -> list[list[str]]:
    """The tags of every row's words, in IOB2.

    Args:
        words: of every row.

    Raises:
        UserError: the column is missing, a value is no list of tags, or a row has not one tag a word.
    """
    require_columns(table, [name], "data.label_column_name")
    due = 'a list of tags is due, such as ["B-ORG", "O"], or of numbers in a file that has their names'
    found = _lists(table, name, due)
    for row, (tags, its_words) in enumerate(zip(found, words, strict=True)):
        if len(tags) != len(its_words):
            raise UserError(
                f"{where(table, row)}: {counted(len(its_words), 'word')}, but "
                f"{counted(len(tags), 'tag')} in '{name}'. Each word has one."
            )
        for tag in tags:
            if tag != OUTSIDE and not (tag.startswith((_BEGIN, _INSIDE)) and type_of(tag)):
                raise UserError(
                    f"{where(table, row)}: the tag {shown(tag)} in '{name}' is none of IOB1 or IOB2.\n"
                    "A tag is O, or B- or I- and the type of an entity, such as B-PER."
                )
    return [iob2(tags) for tags in found]


def _lists(table: pa.Table, name: str, due: str) -> list[list[str]]:
    values: list[Any] = table[name].to_pylist()
    for row, value in enumerate(values):
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise UserError(f"{where(table, row)}: the column '{name}' is {shown(value)}, where {due}.")
    return values


@dataclass(frozen=True)
class Frequencies:
    """How often words have which tags.

    Attributes:
        of_words: by word and tag.
        overall: by tag.
        labels: how many tags there are.
    """

    of_words: Mapping[str, Counter[str]]
    overall: Counter[str]
    labels: int

    @classmethod
    def of(cls, words: Iterable[Sequence[str]], tags: Iterable[Sequence[str]], labels: int) -> Self:
        """Those of all rows."""
        counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for its_words, its_tags in zip(words, tags, strict=True):
            for word, tag in zip(its_words, its_tags, strict=True):
                counted[word][tag] += 1
        return cls(dict(counted), sum(counted.values(), Counter()), labels)

    def most_frequent(self, word: str) -> str:
        """The most frequent tag of a word; `O` where it was never seen."""
        tally = self.of_words.get(word, {OUTSIDE: 1})
        return max(tally, key=lambda tag: (tally[tag], tag))

    def share(self, word: str, tag: str) -> float:
        """The share of a tag among those of the word, or of all words where it was never seen.

        Each is counted once more than it was seen, so that none is impossible.
        """
        tally = self.of_words.get(word, self.overall)
        return (tally[tag] + 1) / (tally.total() + self.labels)
