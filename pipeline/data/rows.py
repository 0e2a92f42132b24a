"""Columns of a raw table as texts and labels, with errors that name the row.

A row's `id` says where it stands: `train.csv:17` is line 17 of data/raw/train.csv, `train.parquet#17` its 17th row.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UserError, did_you_mean

Wanted = Callable[[Sequence[str]], Mapping[str, str]]
"""Tells from the names of a source's columns which are wanted, each with the key of params.yaml that names it."""

_SOURCE = b"source"
_MAX_LISTED = 12
_MAX_SHOWN = 40
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_MOST_DIGITS = 1000


def with_source(table: pa.Table, source: str) -> pa.Table:
    """The same table, which remembers the file or dataset that it comes from."""
    return table.replace_schema_metadata({_SOURCE: source.encode()})


def source_of(table: pa.Table) -> str:
    """The file or dataset that a table comes from."""
    return str(table.schema.metadata[_SOURCE].decode()) if _has_source(table) else "the rows"


def where(table: pa.Table, index: int) -> str:
    """A row's place in words: `data/raw/train.csv, line 17` or `data/raw/train.parquet, row 17`."""
    if index >= len(table) or "id" not in table.column_names:
        return source_of(table)
    row_id = str(table["id"][index].as_py())
    found = re.fullmatch(r"(.+)([:#])(\d+)", row_id)
    if found is None:
        return row_id
    named = source_of(table) if _has_source(table) else found[1]
    return f"{named}, {'line' if found[2] == ':' else 'row'} {found[3]}"


def _has_source(table: pa.Table) -> bool:
    return _SOURCE in (table.schema.metadata or {})


def shown(value: object) -> str:
    """A value for a message: quoted if it is text, and cut if it is long."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 4]}...{text[-1]}"


def half_pair(text: str) -> str | None:
    """A lone half of a UTF-16 pair in words, which JSON can hold, and UTF-8 and Arrow cannot; None if there is none."""
    found = _HALF_PAIR.search(text)
    return f"half a UTF-16 pair: {ascii(found[0])[1:-1]}" if found else None


def normalised(text: str) -> str:
    """What makes two texts the same text: Unicode NFKC, case folded, white space collapsed."""
    # ASCII is in NFKC as it is, and most texts are ASCII.
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(plain.casefold().split())


def require_columns(table: pa.Table, names: Iterable[str], key: str) -> None:
    """Check that the columns are there.

    Args:
        key: the key of params.yaml that names them, such as `data.label_column_name`.

    Raises:
        UserError: a column is missing; the message lists those that exist, and the nearest.
    """
    columns = [column for column in table.column_names if column != "id"]
    for name in names:
        if name in columns:
            continue
        if name == "id":
            raise UserError(f"{key}: 'id' is the place of a row here; give that column of the file another name")
        listed = ", ".join(column if len(column) <= _MAX_SHOWN else shown(column) for column in columns[:_MAX_LISTED])
        more = ", ..." if len(columns) > _MAX_LISTED else ""
        message = f"{key}: '{name}' is not in {source_of(table)}; its columns are {listed}{more}."
        hint = header_hint(columns) if not set(names) & set(columns) else ""
        raise UserError(message + (did_you_mean(name, columns) or hint or _own_names(key)))


def _own_names(key: str) -> str:
    """A line about a key that may be null: the user may have written no name at all."""
    if not key.startswith("data."):
        return ""
    return f"\nSet {key} to what the file has; null stands for the task's own names (docs/tasks.md)."


def kept(source: str, names: Sequence[str], wanted: Wanted, everything: bool) -> list[str]:
    """The columns of a source to keep.

    Args:
        everything: keep all but `id`, whether the wanted ones are among them or not.

    Raises:
        UserError: a wanted column is missing.
    """
    if everything:
        return [name for name in names if name != "id"]
    header = with_source(pa.table({name: pa.nulls(0) for name in names}), source)
    needed = wanted(names)
    for name, key in needed.items():
        require_columns(header, [name], key)
    return list(needed)


def distinct(source: str, names: Sequence[str]) -> list[str]:
    """The names of columns, if each stands once.

    Raises:
        UserError: two columns have one name.
    """
    for place, name in enumerate(names):
        if name in names[:place]:
            places = f"{names.index(name) + 1} and {place + 1}"
            raise UserError(f"{source}: the columns {places} are both named {shown(name)}.{header_hint(names)}")
    return list(names)


def header_hint(columns: Iterable[str]) -> str:
    """A line about `column_names`, where the columns' names look like a row's values."""
    if any(_INTEGER.fullmatch(name) or len(name.split()) > 4 for name in columns):
        return "\nThat looks like a row. If the file has no header, set data.column_names to the names of all columns."
    return ""


def text_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of texts (string); null becomes the empty text, which the audit counts.

    Raises:
        UserError: the column is missing, or a value is no text.
    """
    require_columns(table, [name], "data.text_column_names")
    column = _plain(table[name])
    if pa.types.is_null(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.fill_null(column.cast(pa.string()), "")
    index = next((i for i, valid in enumerate(column.is_valid().to_pylist()) if valid), 0)
    value = column[index].as_py() if len(column) else None
    raise UserError(
        f"{where(table, index)}: text that is no text: '{name}' is {shown(value)} ({column.type}).\n"
        "data.text_column_names must name columns of text."
    )


def label_column(table: pa.Table, name: str) -> list[str]:
    """The labels of a column by their names, white space around them stripped.

    Whole numbers keep their digits (`3.0` of a column of numbers is `3`), truth values are `false` and `true`.

    Raises:
        UserError: the column is missing; a label is null or empty; a label of a column of numbers is a fraction or too
            long; a label is a list.
    """
    require_columns(table, [name], "data.label_column_name")
    column = _plain(table[name])
    kind = column.type
    if column.null_count:
        raise _no_label(table, column.is_null().to_pylist().index(True), name, "null")
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _whole_numbers(table, column, name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        labels = [label.strip() for label in column.to_pylist()]
        if "" in labels:
            raise _no_label(table, labels.index(""), name, "empty")
        return _without_points(table, labels, name) if all(map(is_number, labels)) else labels
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return [str(label) for label in column.cast(pa.string()).to_pylist()]
    raise UserError(
        f"{where(table, 0)}: '{name}' is {shown(column[0].as_py() if len(column) else None)} ({kind}): "
        "a label is a word or a whole number"
    )


def label_names(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in their order: by number if all are whole numbers, else by the alphabet."""
    names = sorted(set(labels))
    if all(_INTEGER.fullmatch(name) for name in names):
        names.sort(key=int)
    return tuple(names)


def spread(rows: int, most: int) -> np.ndarray:
    """The places of at most so many rows, spread evenly over all, (places,) int64."""
    return np.unique(np.linspace(0, rows - 1, min(most, rows)).round().astype(np.int64))


def is_number(text: str) -> bool:
    """Whether a text is a number, such as `-1`, `0.5` or `1e-4`."""
    return _NUMBER.fullmatch(text) is not None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column with its dictionary, if it has one, resolved."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _whole_numbers(table: pa.Table, column: pa.ChunkedArray, name: str) -> list[str]:
    labels = []
    for index, value in enumerate(column.to_pylist()):
        if value != value:
            raise _no_label(table, index, name, "NaN, no number")
        if value in (float("inf"), float("-inf")) or value != int(value):
            raise _quantity(table, index, name, str(value))
        labels.append(str(int(value)))
    return labels


def _without_points(table: pa.Table, labels: Sequence[str], name: str) -> list[str]:
    """The labels of a column of numbers: `3.0` as `3`, so that it is the same label in another file."""
    plain = {}
    for label in dict.fromkeys(labels):
        if len(label) > _MOST_DIGITS:
            place = f"{where(table, labels.index(label))}: the column '{name}'"
            raise UserError(f"{place} is a number of {len(label):,} digits; a label is a word or a whole number.")
        if not _INTEGER.fullmatch(label) and not float(label).is_integer():
            raise _quantity(table, labels.index(label), name, label)
        plain[label] = label if _INTEGER.fullmatch(label) else str(int(Decimal(label)))
    return [plain[label] for label in labels]


def _quantity(table: pa.Table, index: int, name: str, value: str) -> UserError:
    return UserError(
        f"{where(table, index)}: the column '{name}' is {shown(value)[1:-1]}; a label is a word or a whole number.\n"
        "Predicting a quantity is regression, which is another task; a class needs a word, such as 'version 0.5'."
    )


def _no_label(table: pa.Table, index: int, name: str, what: str) -> UserError:
    return UserError(
        f"{where(table, index)}: the column '{name}' is {what}. Every row needs a label; add it, or remove the row."
    )
