"""What a model says to rows, and what comes of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

GENERATED = "generated"
"""The column of rows that holds what the model wrote to each; null where it was not asked to."""

Predictions = dict[str, np.ndarray]
"""What the model says to the rows of a split, in their order: by column, an array whose first axis is the rows.

A model's have `loss` (summed over the row's targets), and `targets` (how many those are) unless each row has one; those
of a baseline may have none.
The rest is what its scores are computed from, such as `target` and `prediction`: a few numbers a row, or an object
array of lists of numbers; never logits and never texts, so that memory stays small, and nothing private is kept.
"""

Answer = dict[str, Any]
"""What somebody who asks the model is told: JSON values by name; the first one is the answer."""


def rows_of(predictions: Predictions) -> int:
    """How many rows were predicted."""
    return len(next(iter(predictions.values())))


def mean_loss(predictions: Predictions) -> float:
    """The mean loss over the targets of all rows."""
    targets = float(predictions["targets"].sum()) if "targets" in predictions else rows_of(predictions)
    return float(predictions["loss"].sum(dtype=np.float64) / targets)


def listed(values: Sequence[Any]) -> np.ndarray:
    """Lists of several lengths as the entries of one array, (rows,) object."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def as_column(values: np.ndarray) -> pa.Array:
    """One of the arrays of predictions as a column of a table."""
    return pa.array(values.tolist() if values.ndim > 1 else values)


def of_column(column: pa.ChunkedArray) -> np.ndarray:
    """One of the arrays that `as_column` made a column of."""
    if not pa.types.is_list(column.type):
        return np.asarray(column.to_numpy())
    values = column.to_pylist()
    if len({np.shape(value) for value in values}) == 1:
        return np.array(values)
    return listed(values)
