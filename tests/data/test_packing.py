import numpy as np
import pyarrow as pa
import pytest

from pipeline.data import packing
from pipeline.data.packing import NO_TARGET, pack, pieces
from pipeline.data.store import Store
from pipeline.errors import UserError
from pipeline.params import Tokenizer

RNG = np.random.default_rng(0)


def sequences(lengths: list[int]) -> list[np.ndarray]:
    """Tokens that are all different."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end) for length, end in zip(lengths, ends, strict=True)]


def cut(
    lengths: list[int], training: bool = True, wanted: list[np.ndarray] | None = None, **settings: object
) -> pa.Table:
    tokenizer = Tokenizer.model_validate({"max_seq_length": 8, "doc_stride": 0, **settings})
    found = sequences(lengths)
    targets = wanted or [np.ones(len(sequence), bool) for sequence in found]
    return pieces(found, targets, [f"x.csv:{row}" for row in range(len(found))], tokenizer, training)


def predicted(table: pa.Table) -> list[int]:
    """The labels of all examples."""
    return sorted(label for labels in table["labels"].to_pylist() for label in labels if label != NO_TARGET)


@pytest.mark.parametrize("shared", [0, 1, 3, 4])
@pytest.mark.parametrize("training", [True, False])
def test_windows_hold_every_token_but_the_first_as_a_target_once(shared: int, training: bool) -> None:
    lengths = [1, 2, 8, 9, 15, 16, 17, 40]
    table = cut(lengths, training, over_length="window", doc_stride=shared)
    everything = np.concatenate([sequence[1:] for sequence in sequences(lengths)])
    assert predicted(table) == everything.tolist()
    assert sum(table["targets"].to_pylist()) == len(everything)
    assert max(table["length"].to_pylist()) <= 8
    for tokens, labels in zip(table["input_ids"].to_pylist(), table["labels"].to_pylist(), strict=True):
        for token, label in zip(tokens, labels, strict=True):
            assert label in (NO_TARGET, token + 1), "a label is the next token"
        assert labels[-1] == NO_TARGET


def test_windows_share_tokens_that_are_no_targets_again() -> None:
    table = cut([14], over_length="window", doc_stride=3)
    assert table["input_ids"].to_pylist() == [list(range(8)), list(range(5, 13)), list(range(10, 14))]
    assert table["labels"].to_pylist()[1] == [NO_TARGET, NO_TARGET, 8, 9, 10, 11, 12, NO_TARGET]


def test_truncation_counts_the_targets_that_are_lost() -> None:
    table = cut([5, 20], over_length="truncate")
    assert table["length"].to_pylist() == [5, 8]
    assert table["full_length"].to_pylist() == [5, 20]
    assert table["targets"].to_pylist() == [4, 7]
    assert table["lost_targets"].to_pylist() == [0, 12]
    assert Store(table).truncation(2)["lost_targets"] == 12


def test_rows_that_are_judged_are_never_cut_off() -> None:
    for way in ("truncate", "drop"):
        assert predicted(cut([20], False, over_length=way)) == list(range(1, 20))


def test_too_long_rows_are_dropped_or_refused_as_asked() -> None:
    assert cut([5, 20, 6], over_length="drop")["row"].to_pylist() == [0, 2]
    with pytest.raises(
        UserError, match=r"x.csv:1: the row has 20 tokens, more than tokenizer.max_seq_length 8 \(1 such"
    ):
        cut([5, 20], False, over_length="raise")


def test_pieces_without_a_target_are_left_out_of_training_alone() -> None:
    nothing, last = np.zeros(20, bool), np.zeros(20, bool)
    last[-1] = True
    training = cut([20, 20], wanted=[nothing, last], over_length="window")
    assert training["row"].to_pylist() == [1]
    assert predicted(training) == [39]
    judged = cut([20, 20], False, wanted=[nothing, last], over_length="window")
    assert judged["row"].to_pylist() == [0, 1], "each row that is judged has an example"


def test_blocks_hold_whole_pieces_and_nothing_is_lost() -> None:
    lengths = RNG.integers(1, 30, 300).tolist()
    table = cut(lengths, over_length="window")
    blocks = pack(table, 8)
    assert max(blocks["length"].to_pylist()) <= 8
    assert predicted(blocks) == predicted(table)
    assert sum(blocks["targets"].to_pylist()) == sum(table["targets"].to_pylist())
    by_piece = {(row, *ids) for row, ids in zip(table["row"].to_pylist(), table["input_ids"].to_pylist(), strict=True)}
    for block in blocks.to_pylist():
        cuts = np.split(block["input_ids"], np.cumsum(block["pieces"])[:-1])
        assert {(row, *ids.tolist()) for row, ids in zip(block["row"], cuts, strict=True)} <= by_piece
        assert sum(block["pieces"]) == block["length"]
    assert pack(table, 8).equals(blocks), "the same pieces make the same blocks"


def test_each_piece_goes_to_the_first_block_with_room() -> None:
    blocks = pack(cut([5, 6, 3, 2, 4]), 8)
    assert blocks["row"].to_pylist() == [[0, 2], [1, 3], [4]]


def test_a_packed_store_knows_rows_and_what_was_cut() -> None:
    store = Store(pack(cut([5, 20, 3, 9], over_length="truncate"), 8))
    assert len(store) == 3
    assert not store.is_row_by_row
    assert store.rows_in([0]).tolist() == [0, 2]
    assert store.rows_in([2, 1]).tolist() == [1, 3]
    assert store.row_lengths(4).tolist() == [5, 20, 3, 9]
    found = store.truncation(4)
    assert found["tokens"] == 37
    assert found["tokens_cut"] == 13
    assert found["rows_cut"] == 2
    assert found["rows_dropped"] == 0
    assert found["lost_targets"] == 13


def test_positions_start_again_with_each_piece_and_with_the_padding() -> None:
    blocks = Store(pack(cut([5, 3, 6]), 8)).examples([0, 1])
    inputs = packing.inputs(blocks, "llama", 99)
    assert inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 4, 5, 0, 1]]
    assert inputs["input_ids"][1].tolist() == [8, 9, 10, 11, 12, 13, 99, 99]
    assert inputs["labels"][0].tolist() == [1, 2, 3, 4, NO_TARGET, 6, 7, NO_TARGET]
    assert "attention_mask" not in inputs


def test_a_model_that_cannot_tell_pieces_apart_reads_single_ones_with_a_mask() -> None:
    single = Store(cut([5, 3, 6])).examples([0, 1])
    inputs = packing.inputs(single, "bloom", 99)
    assert inputs["input_ids"].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 99, 99]]
    assert inputs["attention_mask"].sum(axis=1).tolist() == [5, 3]
    assert (inputs["labels"] != NO_TARGET).sum(axis=1).tolist() == [4, 2]
    assert "position_ids" not in inputs
    with pytest.raises(AssertionError, match="keep their pieces apart"):
        packing.inputs(Store(pack(cut([5, 3, 6]), 8)).examples([0, 1]), "bloom", 99)
