"""Examples of several sequences."""

import numpy as np
import pyarrow as pa

from pipeline.data.groups import grouped, only, sequences
from pipeline.data.store import Store

LISTS = [[1, 2], [3], [4, 5, 6], [7, 8], [9], [10]]


def table() -> pa.Table:
    lengths = pa.array([len(values) for values in LISTS], pa.int32())
    whole = pa.array([2, 1, 8, 2, 1, 1], pa.int32())
    return pa.table({"input_ids": pa.array(LISTS, pa.list_(pa.int32())), "length": lengths, "full_length": whole})


def test_an_example_is_as_long_as_its_longest_sequence_times_their_number() -> None:
    examples = grouped(table(), 2)
    assert examples["sizes"].to_pylist() == [[2, 1], [3, 2], [1, 1]]
    assert examples["length"].to_pylist() == [4, 6, 2]
    assert examples["full_length"].to_pylist() == [4, 16, 2]


def test_the_first_sequences_come_before_the_second_ones() -> None:
    found = sequences(Store(grouped(table(), 2)).examples([2, 0, 1]), "input_ids")
    assert [values.tolist() for values in found] == [[9], [1, 2], [4, 5, 6], [10], [3], [7, 8]]


def test_examples_that_are_left_know_their_rows() -> None:
    store = Store(only(grouped(table(), 2), np.array([True, False, True])))
    assert store.rows.tolist() == [0, 2]
    assert store.examples([1])["input_ids"][0].tolist() == [9, 10]
