"""The token store gives back what was written, by index, without loading it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.data.store import Store, write


def table(token_lists: list[list[int]], labels: list[int], cut: int = 0) -> pa.Table:
    """Examples as a task encodes them; `cut` tokens of each were cut off."""
    lengths = [len(tokens) for tokens in token_lists]
    return pa.table(
        {
            "input_ids": pa.array(token_lists, pa.list_(pa.int32())),
            "token_type_ids": pa.array([[0] * length for length in lengths], pa.list_(pa.int8())),
            "label": pa.array(labels, pa.int32()),
            "length": pa.array(lengths, pa.int32()),
            "full_length": pa.array([length + cut for length in lengths], pa.int32()),
        }
    )


TOKENS = [[[1, 2, 3], [], [4]], [[5, 6]], [[], []], [[], [7, 8, 9, 10]]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Four record batches, with empty lists at their beginnings and ends, and one with nothing else."""
    file = tmp_path / "deep" / "train.arrow"
    labels = iter(range(100))
    assert write(file, (table(part, [next(labels) for _ in part]) for part in TOKENS)) == 8
    return file


def test_every_example_comes_back(path: Path) -> None:
    store = Store(path)
    flat = [tokens for part in TOKENS for tokens in part]
    assert len(store) == 8
    assert store.lengths.tolist() == [len(tokens) for tokens in flat]
    for index, tokens in enumerate(flat):
        found = store.examples([index])
        assert [ids.tolist() for ids in found["input_ids"]] == [tokens]
        assert found["label"].tolist() == [index]


def test_examples_come_in_the_order_of_the_indices(path: Path) -> None:
    found = Store(path).examples(np.array([7, 0, 3, 0]))
    assert [ids.tolist() for ids in found["input_ids"]] == [[7, 8, 9, 10], [1, 2, 3], [5, 6], [1, 2, 3]]
    assert [ids.tolist() for ids in found["token_type_ids"]] == [[0] * 4, [0] * 3, [0] * 2, [0] * 3]
    assert found["label"].tolist() == [7, 0, 3, 0]
    assert set(found) == {"input_ids", "token_type_ids", "label", "length", "full_length", "index"}
    assert found["index"].tolist() == [7, 0, 3, 0]
    assert found["input_ids"][0].dtype == np.int32
    assert found["token_type_ids"][0].dtype == np.int8


def test_tokens_stay_in_the_memory_map(tmp_path: Path) -> None:
    tokens = np.arange(200_000, dtype=np.int32).reshape(1000, 200)
    write(tmp_path / "big.arrow", (table(part.tolist(), [0] * len(part)) for part in np.split(tokens, 4)))
    before = pa.total_allocated_bytes()
    store = Store(tmp_path / "big.arrow")
    found = store.examples(np.arange(1000))["input_ids"]
    assert pa.total_allocated_bytes() - before < 100_000
    assert not any(ids.flags.owndata or ids.flags.writeable for ids in found)
    assert found[999].tolist() == tokens[999].tolist()


def test_the_same_examples_make_the_same_file(path: Path, tmp_path: Path) -> None:
    labels = iter(range(100))
    write(tmp_path / "again.arrow", (table(part, [next(labels) for _ in part]) for part in TOKENS))
    assert (tmp_path / "again.arrow").read_bytes() == path.read_bytes()


def test_what_was_cut_off_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "train.arrow"
    write(file, [table([[1, 2], [3]], [0, 0]), table([[4, 5, 6]], [0], cut=5), table([[]], [0], cut=2)])
    found = {"rows": 4, "rows_dropped": 0, "rows_cut": 2, "tokens": 13, "tokens_cut": 7, "longest": 8}
    assert Store(file).truncation(4) == found


def test_rows_of_several_examples_are_counted_once(tmp_path: Path) -> None:
    examples = table([[1, 2], [3], [4]], [0, 0, 0], cut=1).append_column("row", pa.array([0, 0, 2], pa.int32()))
    store = Store(examples.append_column("lost_entities", pa.array([1, 0, 2], pa.int32())))
    found = store.truncation(3)
    assert (found["rows"], found["rows_dropped"], found["rows_cut"]) == (3, 1, 2)
    assert found["lost_entities"] == 3
    assert store.row_lengths(3).tolist() == [5, 0, 2]


def test_nothing_cut_is_counted_as_nothing(path: Path) -> None:
    found = {"rows": 8, "rows_dropped": 0, "rows_cut": 0, "tokens": 10, "tokens_cut": 0, "longest": 4}
    assert Store(path).truncation(8) == found
