"""Examples of several sequences, which go through the model together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa


def grouped(sequences: pa.Table, size: int) -> pa.Table:
    """Examples of `size` sequences each.

    A micro-batch pads all of them to the longest, so an example is as long as that one, times their number.

    Args:
        sequences: those of an example behind each other: lists of the same lengths, `length` and `full_length`.

    Returns:
        A table with the lists, each an example's one behind the other, `sizes` (list of int32, the tokens of each
        sequence), `length` and `full_length`.
    """
    sizes, whole = (sequences[name].to_numpy().reshape(-1, size) for name in ("length", "full_length"))
    ends = np.concatenate([[0], np.cumsum(sizes.sum(axis=1))]).astype(np.int32)
    columns = {
        name: pa.ListArray.from_arrays(pa.array(ends), sequences[name].combine_chunks().flatten())
        for name in sequences.column_names
        if pa.types.is_list(sequences[name].type)
    }
    columns["sizes"] = pa.array(sizes.tolist(), pa.list_(pa.int32()))
    for name, tokens in (("length", sizes), ("full_length", whole)):
        columns[name] = pa.array(tokens.max(axis=1) * size, pa.int32())
    return pa.table(columns)


def only(examples: pa.Table, kept: np.ndarray) -> pa.Table:
    """These examples of those of all rows, with the `row` of each.

    Args:
        kept: (rows,) bool.
    """
    places = pa.array(np.flatnonzero(kept), pa.int32())
    return examples.take(places).append_column("row", places)


def sequences(examples: Mapping[str, Any], name: str) -> list[np.ndarray]:
    """The sequences of examples in one list: the first of each example, then the second of each, and so on."""
    split = [
        np.split(values, np.cumsum(sizes)[:-1]) for values, sizes in zip(examples[name], examples["sizes"], strict=True)
    ]
    return [sequence for of_place in zip(*split, strict=True) for sequence in of_place]
