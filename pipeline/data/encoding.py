"""Texts as token ids, and what becomes of those that are longer than `tokenizer.max_seq_length`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data import over_length
from pipeline.params import Tokenizer

if TYPE_CHECKING:
    # More than a second of imports, which those that encode have paid already.
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

_SAMPLE = "overflow_to_sample_mapping"
_TYPES = {
    "input_ids": pa.list_(pa.int32()),
    "token_type_ids": pa.list_(pa.int8()),
    "offsets": pa.list_(pa.int32()),
    _SAMPLE: pa.int64(),
}
_FIELDS = {"input_ids": "ids", "token_type_ids": "type_ids"}  # as `tokenizers` calls them
_OUTSIDE = -1
_AT_ONCE = 2_000  # texts: enough for every core, and few enough that what is read off is soon begun


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
    examples = _tokenized(tokenizer, columns, with_offsets) if with_offsets else _whole(tokenizer, columns)
    full_length = _lengths(examples)
    over_length.refuse(full_length, ids, settings)
    too_long = np.flatnonzero(full_length > settings.max_seq_length)
    rows = np.arange(len(full_length), dtype=np.int32)
    windows = settings.over_length == "window"
    drops = settings.over_length == "drop" and training
    if len(too_long) and drops:
        rows = np.delete(rows, too_long)
        examples = examples.take(rows)
    elif len(too_long):
        cut, of = _shortened(tokenizer, columns, too_long, settings, truncation, with_offsets)
        whole = np.delete(rows, too_long)
        order = np.argsort(np.concatenate([whole, of]), kind="stable")
        rows = np.concatenate([whole, of])[order].astype(np.int32)
        examples = pa.concat_tables([examples.take(whole), cut]).take(order)
    lengths = _lengths(examples)
    # Of windows nothing is lost.
    full_length = lengths if windows else full_length[rows]
    examples = examples.append_column("length", pa.array(lengths)).append_column("full_length", pa.array(full_length))
    return (examples.append_column("row", pa.array(rows)) if windows or drops else examples).combine_chunks()


def _lengths(examples: pa.Table) -> np.ndarray:
    lengths: np.ndarray = pc.list_value_length(examples["input_ids"]).to_numpy()
    return lengths


def _shortened(
    tokenizer: "PreTrainedTokenizerBase",
    columns: Sequence[list[str]],
    too_long: np.ndarray,
    settings: Tokenizer,
    truncation: str,
    with_offsets: bool,
) -> tuple[pa.Table, np.ndarray]:
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
    if not windows:
        return cut, too_long
    return cut.drop_columns([_SAMPLE]), too_long[cut[_SAMPLE].to_numpy()]


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


def _whole(tokenizer: "PreTrainedTokenizerBase", columns: Sequence[list[str]]) -> pa.Table:
    """All tokens of texts or pairs, as `_tokenized` makes them, and on all cores that the tokenizer's threads have.

    The next texts are being encoded while the tokens of the last ones are read off, which takes Python's lock.
    """
    encoder = tokenizer.backend_tokenizer
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = tokenizer.split_special_tokens
    texts: Sequence[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    parts = (texts[begin : begin + _AT_ONCE] for begin in range(0, max(len(texts), 1), _AT_ONCE))
    wanted = {name: field for name, field in _FIELDS.items() if name in tokenizer.model_input_names}
    return pa.concat_tables(
        pa.table(
            {
                name: pa.array([getattr(encoding, field) for encoding in encodings], _TYPES[name])
                for name, field in wanted.items()
            }
        )
        for encodings in _ahead(encoder.encode_batch_fast, parts)
    )


def _ahead(encode_batch: Callable[[Any], list["Encoding"]], parts: Iterator[Any]) -> Iterator[list["Encoding"]]:
    """What becomes of every part; the next is begun before one is handed out."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(encode_batch, next(parts))
        for part in parts:
            made, following = following, thread.submit(encode_batch, part)
            yield made.result()
        yield following.result()


def _tokenized(
    tokenizer: "PreTrainedTokenizerBase", columns: Sequence[list[str]], with_offsets: bool, **settings: Any
) -> pa.Table:
    made = tokenizer(*columns, return_attention_mask=False, verbose=False, **settings)
    found = dict(made)
    if with_offsets:
        found["offsets"] = [_offsets(encoding, len(columns) - 1) for encoding in made.encodings]
    return pa.table({name: pa.array(values, _TYPES[name]) for name, values in found.items()})


def _offsets(encoding: "Encoding", text: int) -> np.ndarray:
    """Where each token begins and ends in one of the texts, flat, (2 * tokens,)."""
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    of_text = np.array([place == text for place in encoding.sequence_ids], bool)
    return np.where((of_text & (offsets[:, 0] < offsets[:, 1]))[:, None], offsets, _OUTSIDE).ravel()
