"""Sequences for a model that predicts the next token: cut into pieces, and several pieces packed into a block.

A piece is a stretch of one sequence that fits `tokenizer.max_seq_length`. A block is an example of several pieces,
whose tokens must not see each other: packed rows train as if each stood alone, without the padding.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data import over_length
from pipeline.params import Tokenizer

NO_TARGET = -100
"""The label of a position whose next token is not to be predicted."""

# Blocks that still take a piece; with more of them packing would become slow, and hardly any denser.
_OPEN_BLOCKS = 1024
# Of a piece; a block keeps the one of each of its pieces.
_OF_PIECES = ("row", "full_length")

SEPARATING = frozenset(
    (
        "gemma",
        "gemma2",
        "gemma3_text",
        "gpt2",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "llama",
        "mistral",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
    )
)
"""Models whose attention stays within a piece where position ids start again; a test looks at each of them.

Other models are trained on single pieces.
"""


def pieces(
    sequences: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    ids: Sequence[str],
    settings: Tokenizer,
    training: bool,
) -> pa.Table:
    """Examples whose every target is predicted from the tokens before it, within the piece.

    What `over_length` cuts off or drops concerns training alone: other rows are cut into windows, so that all of
    their targets are judged. Neighbouring windows share `doc_stride` tokens, at least one; they are what the second
    one goes on from, and no targets of it again.

    Args:
        sequences: by row, its tokens.
        targets: by row, which of the tokens are to be predicted, bool; the first never is.
        ids: where each row stands, for messages.

    Returns:
        A table with `input_ids`, `labels` (the next token, or NO_TARGET), `length`, `full_length`, `row`, `targets`
        and `lost_targets`. Of a training row, pieces without a target are left out.

    Raises:
        UserError: a row is too long, and `over_length` is `raise`.
    """
    most = settings.max_seq_length
    way = settings.over_length if training else "window"
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    over_length.refuse(lengths, ids, settings)
    found: list[dict[str, Any]] = []
    for row, (sequence, wanted) in enumerate(zip(sequences, targets, strict=True)):
        if len(sequence) > most and way == "drop":
            continue
        examples = _cut(row, sequence, wanted, way, settings)
        with_targets = [example for example in examples if example["targets"]]
        found += with_targets or ([] if training else examples[:1])
    return pa.Table.from_pylist(found, schema=_SCHEMA)


_SCHEMA = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        *((name, pa.int32()) for name in ("length", "full_length", "row", "targets", "lost_targets")),
    ]
)


def _cut(
    row: int, sequence: np.ndarray, wanted: np.ndarray, way: str | None, settings: Tokenizer
) -> list[dict[str, Any]]:
    """The pieces of a row: windows, or one piece of what fits."""
    most, shared = settings.max_seq_length, max(1, settings.doc_stride)
    assert shared < most, "windows share at most half of their tokens"
    labels = np.append(np.where(wanted[1:], sequence[1:], NO_TARGET), NO_TARGET)
    if way == "window":
        return [_example(row, tokens, label) for tokens, label in _windows(sequence, labels, most, shared)]
    whole, kept = int((labels != NO_TARGET).sum()), labels[:most].copy()
    if way == "truncate":
        kept[-1] = NO_TARGET  # what came next is cut off
    example = _example(row, sequence[:most], kept)
    return [example | {"full_length": len(sequence), "lost_targets": whole - example["targets"]}]


def _example(row: int, tokens: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    return {
        "input_ids": tokens,
        "labels": labels,
        "length": len(tokens),
        "full_length": len(tokens),
        "row": row,
        "targets": int((labels != NO_TARGET).sum()),
        "lost_targets": 0,
    }


def _windows(sequence: np.ndarray, labels: np.ndarray, most: int, shared: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Windows that hold every target once; the last token of each has its label in the next window."""
    found = []
    for start in range(0, max(len(sequence) - shared, 1), max(most - shared, 1)):
        window = labels[start : start + most].copy()
        window[-1] = NO_TARGET
        if start:
            window[: shared - 1] = NO_TARGET
        found.append((sequence[start : start + most], window))
    return found


def pack(examples: pa.Table, max_seq_length: int) -> pa.Table:
    """Blocks of whole pieces: each piece goes to the first block that has room for it, in the order of the pieces.

    Returns:
        A table with the columns of the examples, a row a block: lists one after the other, numbers summed, `row` and
        `full_length` as lists with an entry a piece; and `pieces` (list of int32), how long each piece is.
    """
    lengths = examples["length"].to_numpy()
    block_of = _first_fit(lengths, max_seq_length)
    order = np.argsort(block_of, kind="stable")
    ordered = examples.take(pa.array(order))
    counts = np.bincount(block_of)
    ends = np.concatenate([[0], np.cumsum(counts)])
    columns: dict[str, pa.Array] = {"pieces": _nested(ordered["length"], ends)}
    for name in ordered.column_names:
        column = ordered[name].combine_chunks()
        if pa.types.is_list(column.type):
            tokens = np.concatenate([[0], np.cumsum(column.value_lengths().to_numpy())])
            columns[name] = _nested(column.flatten(), tokens[ends])
        elif name in _OF_PIECES:
            columns[name] = _nested(column, ends)
        else:
            sums = np.bincount(block_of[order], column.to_numpy(), len(counts))
            columns[name] = pa.array(sums.astype(column.type.to_pandas_dtype()))
    return pa.table(columns)


def _nested(values: pa.Array | pa.ChunkedArray, ends: np.ndarray) -> pa.Array:
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), flat)


def _first_fit(lengths: np.ndarray, most: int) -> np.ndarray:
    """The block of each piece, (pieces,), counted in the order in which they are opened."""
    block_of = np.empty(len(lengths), np.int64)
    room = np.empty(len(lengths), np.int64)
    opened = first = 0
    for place, length in enumerate(lengths.tolist()):
        first = max(first, opened - _OPEN_BLOCKS)
        fits = room[first:opened] >= length
        block = first + int(fits.argmax()) if fits.any() else opened
        if block == opened:
            room[block] = most
            opened += 1
        room[block] -= length
        block_of[place] = block
    return block_of


def inputs(examples: Mapping[str, Any], model_type: str, pad_token_id: int) -> dict[str, np.ndarray]:
    """What a model reads of examples, and its `labels`, each (examples, tokens) int64.

    A model that keeps apart what starts again at position 0 gets positions: pieces follow each other, and padding is a
    piece of its own. Any other gets a mask for the padding, and examples of one piece.
    """
    found = {
        "input_ids": _padded(examples["input_ids"], pad_token_id),
        "labels": _padded(examples["labels"], NO_TARGET),
    }
    if model_type not in SEPARATING:
        assert "pieces" not in examples, f"{model_type}: blocks are for models that keep their pieces apart"
        ones = [np.ones(length, np.int64) for length in examples["length"]]
        return found | {"attention_mask": _padded(ones, 0)}
    longest = int(max(examples["length"]))
    positions = np.empty((len(examples["length"]), longest), np.int64)
    for row, (lengths, length) in enumerate(zip(_pieces(examples), examples["length"], strict=True)):
        positions[row] = np.concatenate([np.arange(part) for part in (*lengths, longest - length)])
    return found | {"position_ids": positions}


def _pieces(examples: Mapping[str, Any]) -> list[np.ndarray]:
    """The lengths of the pieces of each example."""
    if "pieces" in examples:
        return list(examples["pieces"])
    return [np.array([length]) for length in examples["length"]]


def _padded(arrays: Sequence[np.ndarray], value: int) -> np.ndarray:
    whole = np.full((len(arrays), max(map(len, arrays))), value, np.int64)
    for row, array in enumerate(arrays):
        whole[row, : len(array)] = array
    return whole
