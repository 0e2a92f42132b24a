"""Texts as token ids, and what becomes of those that are longer than `tokenizer.max_seq_length`."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data import over_length
from pipeline.data.windows import Truncation, windows
from pipeline.params import Tokenizer

if TYPE_CHECKING:
    # More than a second of imports, which those that encode have paid already.
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

_OUTSIDE = -1
_AT_ONCE = 500_000  # characters: enough for every core, and few enough that what is read off is soon begun
_AHEAD = 2  # parts: one waits for Python's lock with what it has made, and the cores have another

# Of each row that is too long, by its place: the places of the tokens of each example that it becomes.
_Cut = Mapping[int, Sequence[np.ndarray]]


def encode(
    columns: Sequence[list[str]],
    ids: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    settings: Tokenizer,
    training: bool,
    truncation: Truncation = "longest_first",
    with_offsets: bool = False,
) -> pa.Table:
    """The examples of texts, or of pairs of texts.

    Args:
        columns: one list of texts, or two of equal length.
        ids: where each row stands, for messages.
        training: whether rows that are too long may be dropped, if the settings say so.
        truncation: what is shortened of a pair.
        with_offsets: whether to say which characters each token stands for.

    Returns:
        A table with `input_ids`, `token_type_ids` where the tokenizer makes them, `length`, `full_length`, and `row`
        where an example may not be a row: rows are dropped, or long ones cut into windows that overlap by
        `doc_stride` tokens. With offsets also `offsets`, two numbers a token: where it begins and ends in the last
        text of its row, in characters; -1 and -1 for tokens that are not of that text.

    Raises:
        UserError: a row is too long, and `over_length` is `raise`.
    """
    drops = settings.over_length == "drop" and training
    in_windows = settings.over_length == "window"
    tables, whole, counts = [], [], []
    for encodings in _encoded(tokenizer, columns, with_offsets):
        lengths = np.fromiter(map(len, encodings), np.int32, len(encodings))
        too_long = np.flatnonzero(lengths > settings.max_seq_length).tolist()
        cut = {place: [] if drops else _kept(encodings[place], tokenizer, settings, truncation) for place in too_long}
        tables.append(_examples(encodings, cut, tokenizer, len(columns), with_offsets))
        whole.append(lengths)
        counts.append(_counts(len(lengths), cut))
    full_length = np.concatenate(whole)
    over_length.refuse(full_length, ids, settings)
    examples = pa.concat_tables(tables).combine_chunks()
    length = pc.list_value_length(examples["input_ids"])
    rows = np.arange(len(full_length), dtype=np.int32).repeat(np.concatenate(counts))
    # Of windows nothing is lost.
    examples = examples.append_column("length", length)
    examples = examples.append_column("full_length", length if in_windows else pa.array(full_length[rows]))
    return examples.append_column("row", pa.array(rows)) if in_windows or drops else examples


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


def _encoded(
    tokenizer: "PreTrainedTokenizerBase", columns: Sequence[list[str]], with_offsets: bool
) -> Iterator[list["Encoding"]]:
    """All tokens of texts or pairs, part by part, on all cores that the tokenizer's threads have.

    The next texts are being encoded while the tokens of the last ones are read off.
    """
    encoder = tokenizer.backend_tokenizer
    encoder.no_truncation()
    encoder.no_padding()
    encoder.encode_special_tokens = tokenizer.split_special_tokens
    texts: Sequence[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
    lengths = sum(np.fromiter(map(len, column), np.int64, len(column)) for column in columns)
    ends = [*np.flatnonzero(np.diff(np.cumsum(lengths) // _AT_ONCE)) + 1, len(texts)]
    parts = (texts[begin:end] for begin, end in zip([0, *ends], ends, strict=False))
    return _ahead(encoder.encode_batch if with_offsets else encoder.encode_batch_fast, parts)


def _ahead(encode_batch: Callable[[Any], list["Encoding"]], parts: Iterator[Any]) -> Iterator[list["Encoding"]]:
    """What becomes of every part, in order, while more are being made."""
    with ThreadPoolExecutor(_AHEAD) as threads:
        begun = deque(threads.submit(encode_batch, part) for part in islice(parts, _AHEAD))
        for part in parts:
            made = begun.popleft().result()
            begun.append(threads.submit(encode_batch, part))
            yield made
        while begun:
            yield begun.popleft().result()


def _kept(
    encoding: "Encoding", tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, truncation: Truncation
) -> list[np.ndarray]:
    """The places of the tokens of each window of a row that is too long, or of what truncation leaves of it."""
    text_of, most, side = encoding.sequence_ids, settings.max_seq_length, tokenizer.truncation_side
    if settings.over_length == "window":
        return list(windows(text_of, most, settings.doc_stride, truncation, side))
    return [next(windows(text_of, most, 0, truncation, side))]


def _counts(rows: int, cut: _Cut) -> np.ndarray:
    """How many examples each row becomes, (rows,)."""
    counts = np.ones(rows, np.int64)
    for place, examples in cut.items():
        counts[place] = len(examples)
    return counts


def _examples(
    encodings: Sequence["Encoding"], cut: _Cut, tokenizer: "PreTrainedTokenizerBase", texts: int, with_offsets: bool
) -> pa.Table:
    """The tokens of rows of so many texts, whole or as they are cut."""

    def lists(kind: pa.DataType, of_rows: Iterable[Sequence[int] | np.ndarray]) -> pa.ListArray:
        return pa.array(_pieces(of_rows, cut) if cut else of_rows, pa.list_(kind))

    found = {"input_ids": lists(pa.int32(), (encoding.ids for encoding in encodings))}
    if "token_type_ids" in tokenizer.model_input_names:
        # All tokens of a text are of one type: the longest row has every type that there is.
        longest = max(encodings, key=len, default=None)
        if texts == 1 and longest and not any(longest.type_ids):
            zeros = np.zeros(len(found["input_ids"].values), np.int8)
            found["token_type_ids"] = pa.ListArray.from_arrays(found["input_ids"].offsets, zeros)
        else:
            found["token_type_ids"] = lists(pa.int8(), (encoding.type_ids for encoding in encodings))
    if with_offsets:
        offsets = (_offsets(encoding, texts - 1) for encoding in encodings)
        found["offsets"] = pa.array(map(np.ravel, _pieces(offsets, cut)), pa.list_(pa.int32()))
    return pa.table(found)


def _pieces(of_rows: Iterable[Sequence[int] | np.ndarray], cut: _Cut) -> Iterator[Sequence[int] | np.ndarray]:
    """The values of the tokens of each example, of those of each row."""
    for place, values in enumerate(of_rows):
        if place in cut:
            yield from (np.asarray(values)[places] for places in cut[place])
        else:
            yield values


def _offsets(encoding: "Encoding", text: int) -> np.ndarray:
    """Where each token begins and ends in one of the texts, (tokens, 2)."""
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    of_text = np.array([place == text for place in encoding.sequence_ids], bool)
    return np.where((of_text & (offsets[:, 0] < offsets[:, 1]))[:, None], offsets, _OUTSIDE)
