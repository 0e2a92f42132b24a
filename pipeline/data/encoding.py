"""Texts as token ids, and what becomes of those that are longer than `tokenizer.max_seq_length`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError
from pipeline.params import Tokenizer

if TYPE_CHECKING:
    # More than a second of imports, which those that encode have paid already.
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

_TYPES = {"input_ids": pa.int32(), "token_type_ids": pa.int8(), "offsets": pa.int32()}
_OUTSIDE = -1


def encode(
    columns: Sequence[list[str]],
    ids: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Tokenizer,
    training: bool,
    truncation: str = "longest_first",
    with_offsets: bool = False,
) -> pa.Table:
    """The examples of texts, or of pairs of texts.

    Args:
        columns: one list of texts, or two of equal length.
        ids: where each row stands, for messages.
        training: whether rows that are too long may be dropped, if the settings say so.
        truncation: what is shortened of a pair, as transformers names it, such as `only_second`.
        with_offsets: whether to say which characters each token stands for.

    Returns:
        A table with `input_ids`, `token_type_ids` where the tokenizer makes them, `length`, `full_length`, and `row`
        where an example may not be a row: rows are dropped, or long ones cut into windows that overlap by
        `doc_stride` tokens. With offsets also `offsets`, two numbers a token: where it begins and ends in the last
        text of its row, in characters; -1 and -1 for tokens that are not of that text.

    Raises:
        UserError: a row is too long, and `over_length` is `raise`.
    """
    kept = {name: list(values) for name, values in _tokenized(tokenizer, columns, with_offsets).items()}
    full_length = np.fromiter((len(tokens) for tokens in kept["input_ids"]), np.int32, len(kept["input_ids"]))
    too_long = np.flatnonzero(full_length > settings.max_seq_length)
    rows = np.arange(len(full_length), dtype=np.int32)
    windows = settings.over_length == "window"
    drops = settings.over_length == "drop" and training
    if len(too_long) and settings.over_length == "raise":
        raise UserError(_too_long(ids, full_length, settings))
    if len(too_long) and drops:
        rows = np.delete(rows, too_long)
        kept = {name: [values[row] for row in rows] for name, values in kept.items()}
    elif len(too_long):
        cut, of = _shortened(tokenizer, columns, too_long, settings, truncation, with_offsets)
        whole = np.delete(rows, too_long)
        order = np.argsort(np.concatenate([whole, of]), kind="stable")
        rows = np.concatenate([whole, of])[order].astype(np.int32)
        kept = {name: _take([*(values[row] for row in whole), *cut[name]], order) for name, values in kept.items()}
    # Of windows nothing is lost.
    full_length = np.fromiter(map(len, kept["input_ids"]), np.int32, len(rows)) if windows else full_length[rows]
    return _table(kept, rows, full_length, windows or drops)


def _shortened(
    tokenizer: "PreTrainedTokenizerBase",
    columns: Sequence[list[str]],
    too_long: np.ndarray,
    settings: Tokenizer,
    truncation: str,
    with_offsets: bool,
) -> tuple[dict[str, Any], np.ndarray]:
    """What fits of rows that are too long, and of which row each example is."""
    shorter = [[column[row] for row in too_long] for column in columns]
    windows = settings.over_length == "window"
    cut = _tokenized(
        tokenizer,
        shorter,
        with_offsets,
        truncation=truncation,
        max_length=settings.max_seq_length,
        stride=settings.doc_stride if windows else 0,
        return_overflowing_tokens=windows,
    )
    of = cut.pop("overflow_to_sample_mapping") if windows else slice(None)
    return cut, too_long[of]


def encode_labelled(
    rows: pa.Table, names: Sequence[str], tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
) -> pa.Table:
    """The examples of rows of texts, each with the `label` of its row.

    Args:
        names: the column of the text, or the two of a pair.
    """
    texts = [rows[name].to_pylist() for name in names]
    examples = encode(texts, rows["id"].to_pylist(), tokenizer, settings, training)
    labels = rows["label"].combine_chunks()
    return examples.append_column("label", labels.take(examples["row"]) if "row" in examples.column_names else labels)


def _too_long(ids: Sequence[str], full_length: np.ndarray, settings: Tokenizer) -> str:
    too_long = np.flatnonzero(full_length > settings.max_seq_length)
    place = int(too_long[0])
    return (
        f"{ids[place]}: the row has {full_length[place]:,} tokens, more than tokenizer.max_seq_length "
        f"{settings.max_seq_length:,} ({len(too_long):,} such rows here).\n"
        "Raise it, or set tokenizer.over_length to truncate, drop or window."
    )


def _take(values: list[Any], order: np.ndarray) -> list[Any]:
    return [values[place] for place in order]


def _tokenized(
    tokenizer: "PreTrainedTokenizerBase", columns: Sequence[list[str]], with_offsets: bool, **settings: Any
) -> dict[str, Any]:
    made = tokenizer(*columns, return_attention_mask=False, verbose=False, **settings)
    found = dict(made)
    if with_offsets:
        found["offsets"] = [_offsets(encoding, len(columns) - 1) for encoding in made.encodings]
    return found


def _offsets(encoding: "Encoding", text: int) -> np.ndarray:
    """Where each token begins and ends in one of the texts, flat, (2 * tokens,)."""
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    of_text = np.array([place == text for place in encoding.sequence_ids], bool)
    return np.where((of_text & (offsets[:, 0] < offsets[:, 1]))[:, None], offsets, _OUTSIDE).ravel()


def _table(kept: dict[str, list[Any]], rows: np.ndarray, full_length: np.ndarray, with_rows: bool) -> pa.Table:
    columns = {name: pa.array(values, pa.list_(_TYPES[name])) for name, values in kept.items()}
    lengths = np.fromiter((len(tokens) for tokens in kept["input_ids"]), np.int32, len(rows))
    columns |= {"length": pa.array(lengths), "full_length": pa.array(full_length)}
    if with_rows:
        columns["row"] = pa.array(rows)
    return pa.table(columns)
