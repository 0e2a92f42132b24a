"""What somebody's rows seem to be: their columns of text and label, a header or none, the files that go together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pyarrow as pa

from pipeline.data import rows
from pipeline.data.files import format_of
from pipeline.data.text_files import csv_records, tsv_records
from pipeline.errors import UserError
from pipeline.params import Data

ROWS = 20_000
"""How many rows are looked at: files are often sorted by their labels, so a few would show only one."""

# Names by which columns are known, the surest first. A name counts as a whole, then by its last word (`review_text`).
_TEXTS = (
    *("text", "sentence", "content", "review", "comment", "tweet", "message", "body", "utterance", "question"),
    *("query", "document", "description", "abstract", "title", "headline"),
)
_LABELS = (
    *("label", "labels", "category", "class", "target", "intent", "sentiment", "topic", "emotion", "gold_label"),
    *("label_text", "tag", "type", "polarity", "stars", "rating", "score", "y"),
)
_PAIRS = (
    *(("text", "text_pair"), ("premise", "hypothesis"), ("question", "sentence"), ("question", "passage")),
    *(("question", "answer"), ("query", "passage"), ("query", "document"), ("claim", "evidence")),
)
_OTHERS = ("id", "idx", "index", "guid", "split")
# What stands in the name of a file of each split, the likeliest first.
_SPLITS = {"validation": ("validation", "valid", "val", "dev", "eval"), "test": ("test",)}

_LONG_WORDS, _LONG_CHARACTERS = 5, 60  # a field beyond either is a text, not a column's name
_TEXT_WORDS = 2.5  # on average, from which a column reads like text
_MANY_ROWS = 20  # from which a label that hardly repeats is none


@dataclass(frozen=True)
class Guess:
    """Columns, and why these."""

    names: tuple[str, ...]
    why: str


@dataclass
class Found:
    """What was read and guessed.

    Attributes:
        task: what is learned.
        texts: the columns of the texts.
        label: the column of what the model is to say; None where the texts hold that, too.
        data: the section of params.yaml.
        table: the first rows.
        why: a reason for each key that was chosen.
        notes: what else the user should know, a sentence each.
    """

    task: str
    texts: list[str]
    label: str | None
    data: Data
    table: pa.Table
    why: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        return [*self.texts, *([self.label] if self.label is not None else [])]


# A header, or none


def columns_without_header(path: Path) -> int | None:
    """How many columns a CSV or TSV file without a header has; None for a file that names its columns.

    Raises:
        UserError: the file is malformed, or its ending says no format that is read here.
    """
    if path.is_dir() or (form := format_of(path)) not in ("csv", "tsv"):
        return None
    records = csv_records(path) if form == "csv" else tsv_records(path)
    first, *others = [fields for _, fields in islice(records, ROWS)] or [[]]
    others = [fields for fields in others if len(fields) == len(first)]
    return len(first) if len(first) > 1 and others and not _is_header(first, others) else None


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Whether the first record names the columns of the others."""
    columns = [{fields[place].strip() for fields in others} - {""} for place in range(len(first))]
    cells = [field.strip() for field in first]
    # A value that comes again below is a value: a label, most likely.
    if any(cell in below for cell, below in zip(cells, columns, strict=True)):
        return False
    if any(_plain(cell) in (*_TEXTS, *_LABELS, *_OTHERS) for cell in cells):
        return True
    for cell, below in zip(cells, columns, strict=True):
        if below and all(map(rows.is_number, below)):
            return not rows.is_number(cell)
    return not any(len(cell.split()) > _LONG_WORDS or len(cell) > _LONG_CHARACTERS for cell in cells)


def names_without_header(columns: Sequence[str], text: Sequence[str], label: str) -> dict[str, str]:
    """Names for the columns of a file without a header: text, text_pair and label; the others keep theirs."""
    return {name: name for name in columns} | dict(zip(text, ("text", "text_pair"), strict=False)) | {label: "label"}


# Columns


def label_column(table: pa.Table, avoid: Sequence[str] = (), named: bool = True) -> Guess:
    """The column of the label: by its name, else the one with the fewest different values.

    Args:
        avoid: columns that are something else.
        named: whether the file itself names its columns.

    Raises:
        UserError: none looks like one.
    """
    columns = [name for name in table.column_names if name != "id" and name not in avoid]
    known = columns if named else []
    if one := _by_name(known, _LABELS):
        return Guess((one,), "by its name")
    texts = {_by_name(known, _TEXTS), *next(iter(_named_pairs(known)), ())}
    counts = {name: len(set(values_of(table, name))) for name in columns if name not in texts}
    enough = {name: count for name, count in counts.items() if count >= 2 and not _hardly_repeats(table, name)}
    if enough:
        # Of several with as few values, the last: labels mostly stand behind texts.
        best = min(reversed(enough), key=lambda name: enough[name])
        return Guess((best,), "it has the fewest different values")
    if quantities := [name for name in counts if _quantity(values_of(table, name))]:
        return Guess((quantities[-1],), "it holds quantities")
    raise UserError(
        f"{rows.source_of(table)}: no column looks like a label (values that come again and again); "
        f"its columns are {', '.join(columns)}.\nSay which it is: --label-column NAME\n"
        "or what is learned: --task NAME (docs/tasks.md has the columns of each)"
    )


def check_label(table: pa.Table, name: str) -> None:
    """Check that a column can hold the labels of a classifier: one a row, or a list of them.

    Raises:
        UserError: it holds fractions, hardly a value twice, or only one value.
    """
    if pa.types.is_nested(table[name].type):
        return
    where = f"{rows.source_of(table)}: the column '{name}'"
    values = values_of(table, name)
    if quantity := _quantity(values):
        raise UserError(f"{where} holds quantities such as {rows.shown(quantity)[1:-1]}, which are no labels.")
    distinct = set(values)
    if _hardly_repeats(table, name):
        raise UserError(
            f"{where} has {len(distinct):,} different values in {len(values):,} rows, too many for a label.\n"
            "If another column is the label: --label-column NAME\n"
            "If something else is learned: --task NAME (docs/tasks.md has the columns of each)"
        )
    if len(distinct) < 2 and len(table) < ROWS:
        shown = f"the label {next(iter(distinct))!r} in every row" if distinct else "no label in any row"
        raise UserError(f"{where} has {shown}; a classifier needs at least two labels.")


def text_columns(table: pa.Table, label: str, named: bool = True) -> Guess:
    """The column of the text, or the two of a pair: by their names, else the longest texts.

    Args:
        named: whether the file itself names its columns.

    Raises:
        UserError: none looks like text.
    """
    words = {name: _mean_words(table, name) for name in table.column_names if name not in ("id", label)}
    texts = {name: mean for name, mean in words.items() if mean is not None}
    known = list(texts) if named else []
    if pair := next(iter(_named_pairs(known)), None):
        return Guess(pair, "a pair, by their names")
    if one := _by_name(known, _TEXTS):
        return Guess((one,), "by its name")
    long = tuple(name for name, mean in texts.items() if mean >= _TEXT_WORDS)
    if not named and len(long) == 2:
        return Guess(long, "a pair: two columns hold texts")
    if texts:
        return Guess((max(texts, key=lambda name: texts[name]),), "it has the longest texts")
    raise UserError(
        f"{rows.source_of(table)}: no column beside '{label}' holds text; "
        f"its columns are {', '.join(name for name in table.column_names if name != 'id')}.\n"
        "Say which it is: --text-column NAME"
    )


def _named_pairs(columns: Sequence[str]) -> list[tuple[str, str]]:
    """Columns whose names say that they are a pair: sentence1 and sentence2, premise and hypothesis."""
    plain = {_plain(name): name for name in reversed(columns)}
    pairs = [(plain[first], plain[second]) for first, second in _PAIRS if first in plain and second in plain]
    for ends in (("1", "2"), ("a", "b")):
        for name in columns:
            stem = re.fullmatch(rf"(.*\D[_ ]?|){ends[0]}", _plain(name))
            if stem and len(stem[1]) > 2 and (ends[0].isdigit() or stem[1].endswith("_")):
                second = plain.get(stem[1] + ends[1])
                pairs += [(name, second)] if second else []
    return pairs


def _by_name(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """The column with the surest name, as a whole or by its last word."""
    plain = {name: _plain(name) for name in columns}
    for found in (plain, {name: word.rsplit("_", 1)[-1] for name, word in plain.items()}):
        places = {name: known.index(word) for name, word in found.items() if word in known}
        if places:
            return min(places, key=lambda name: places[name])
    return None


def _plain(name: str) -> str:
    """A column's name in small letters, its words joined by `_`: `reviewText` is `review_text`."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).strip("_").casefold()


def _mean_words(table: pa.Table, name: str) -> float | None:
    """Words of a column's texts on average; None if it holds none, or numbers."""
    kind = table[name].type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    values = values_of(table, name)
    if not values or all(map(rows.is_number, values)):
        return None
    return sum(len(value.split()) for value in values) / len(values)


def _hardly_repeats(table: pa.Table, name: str) -> bool:
    values = values_of(table, name)
    different = len(set(values))
    return different > len(values) / 2 if len(values) >= _MANY_ROWS else different == len(values) > 2


def values_of(table: pa.Table, name: str) -> list[str]:
    """The values of a column as texts, without those that are null or empty."""
    if pa.types.is_nested(table[name].type):
        return []
    return [text for value in table[name].to_pylist() if value is not None and (text := str(value).strip())]


def _quantity(values: Sequence[str]) -> str | None:
    """The first fraction among values that are all numbers."""
    numbers = all(map(rows.is_number, values))
    return next((value for value in values if numbers and not float(value).is_integer()), None)


# Files


def siblings(path: Path) -> dict[str, Path]:
    """The files beside a training file that are named as its validation and test files, by split."""
    start = path.name.casefold().rfind("train")
    if start < 0:
        return {}
    end = start + len("training" if path.name.casefold().startswith("training", start) else "train")
    there = {other.name.casefold(): other for other in sorted(path.parent.iterdir())}
    found = {}
    for split, words in _SPLITS.items():
        names = (f"{path.name[:start]}{word}{path.name[end:]}".casefold() for word in words)
        if other := next((there[name] for name in names if name in there), None):
            found[split] = other
    return found
