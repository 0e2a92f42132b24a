"""Targets of a raw table that are not one label: sets of labels, and numbers."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.rows import is_number, label_column, label_names, require_columns, shown, where
from pipeline.errors import UserError, counted, did_you_mean

_KEY = "data.label_column_name"


def is_list_column(table: pa.Table, name: str) -> bool:
    """Whether a column holds lists."""
    require_columns(table, [name], _KEY)
    kind = table[name].type
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def label_lists(table: pa.Table, name: str) -> list[list[str]]:
    """The labels of each row by their names; a row may have none.

    Raises:
        UserError: the column is missing, or holds no lists; a list is null; a label is what no label can be, as in
            `rows.label_column`.
    """
    if not is_list_column(table, name):
        value = table[name][0].as_py() if len(table) else None
        raise UserError(
            f"{where(table, 0)}: '{name}' is {shown(value)} ({table[name].type}), no list of labels as in other rows."
        )
    column = table[name]
    if column.null_count:
        raise UserError(
            f"{where(table, column.is_null().to_pylist().index(True))}: the column '{name}' is null. A row needs a "
            "list of labels; write [] if none holds."
        )
    owners = pc.list_parent_indices(column)
    owned = pa.table({name: pc.list_flatten(column)})
    if "id" in table.column_names:
        owned = owned.append_column("id", table["id"].take(owners))
    names: list[list[str]] = [[] for _ in range(len(table))]
    if len(owned):
        for owner, label in zip(owners.to_pylist(), label_column(owned, name), strict=True):
            names[owner].append(label)
    return names


def known_labels(
    shown: Mapping[str, Sequence[Sequence[str]]], tables: Mapping[str, pa.Table], column: str, fewest: int
) -> tuple[str, ...]:
    """The labels of the training rows in their order.

    Args:
        shown: by split, the labels of each row.
        tables: the rows that have them, for messages.
        column: which holds them, likewise.

    Raises:
        UserError: there are fewer than `fewest`, or another split has one more.
    """
    labels = label_names(chain.from_iterable(shown["train"]))
    if len(labels) < fewest:
        rows = f"all of {counted(len(shown['train']), 'training row')}"
        have = f"have the label '{labels[0]}'" if labels else "have no label"
        raise UserError(
            f"data.label_column_name: {rows} {have} in the column '{column}'.\n"
            f"A classifier needs at least {'two labels' if fewest > 1 else 'one'}."
        )
    known = set(labels)
    for split, named in shown.items():
        for row, names in enumerate(named):
            if unknown := next((name for name in names if name not in known), None):
                raise UserError(
                    f"{where(tables[split], row)}: the label '{unknown}' in {split} never occurs in training."
                    f"{did_you_mean(unknown, labels)}\nAdd training rows with it, or take the row out."
                )
    return labels


def label_ids(column: pa.ChunkedArray) -> list[int]:
    """All ids of a prepared column of labels, of which a row has one, or a list."""
    return list(pc.list_flatten(column).to_pylist() if pa.types.is_list(column.type) else column.to_pylist())


def number_column(table: pa.Table, name: str) -> np.ndarray:
    """A column of finite numbers, (rows,) float32, which is what a loss compares with.

    Raises:
        UserError: the column is missing; a value is null, no number, or too large.
    """
    require_columns(table, [name], _KEY)
    values = table[name].to_pylist()
    numbers = np.array([_number(value) for value in values], np.float64)
    with np.errstate(over="ignore"):
        found = numbers.astype(np.float32)
    if len(wrong := np.flatnonzero(~np.isfinite(found))):
        place = int(wrong[0])
        raise UserError(
            f"{where(table, place)}: the column '{name}' is {_called(values[place])}, no number that can be predicted."
            "\nEvery row needs a finite number; mend it, or remove the row."
        )
    return found


def _number(value: object) -> float:
    """A value as a number; NaN for what is none."""
    if isinstance(value, str):
        return float(value) if is_number(value.strip()) else math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _called(value: object) -> str:
    return "null" if value is None else shown(value)


def ids_of(names: Sequence[Sequence[str]], labels: Sequence[str]) -> pa.Array:
    """The ids of each row's labels in their order, each once (list of int32)."""
    places = {name: place for place, name in enumerate(labels)}
    return pa.array([sorted({places[name] for name in of_row}) for of_row in names], pa.list_(pa.int32()))
