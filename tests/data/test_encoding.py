"""Texts are encoded in parts, and come out as the tokenizer itself encodes them one by one."""

import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerBase

from pipeline.data import encoding
from pipeline.data.tokenizer import ENCODER, train
from pipeline.params import Tokenizer

TEXTS = ["one two three four five six seven", "", "two", "three four [SEP] five", "six seven one two three", "four"]
IDS = [f"row#{place}" for place in range(len(TEXTS))]
ROOM = 6


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train(TEXTS, Tokenizer(tokenizer_type="wordpiece", vocab_size=300), ENCODER)


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_AT_ONCE", 40)


@pytest.mark.parametrize("columns", [[TEXTS], [TEXTS, TEXTS[::-1]]], ids=["texts", "pairs"])
@pytest.mark.parametrize("over_length", ["truncate", "window", "drop"])
def test_examples_are_what_the_tokenizer_says(
    tokenizer: PreTrainedTokenizerBase, columns: list[list[str]], over_length: str
) -> None:
    settings = Tokenizer(max_seq_length=ROOM, over_length=over_length, doc_stride=1)
    examples = encoding.encode(columns, IDS, tokenizer, settings, training=True)
    expected, rows = [], []
    for row, cells in enumerate(zip(*columns, strict=True)):
        texts = [[cell] for cell in cells]
        (whole,) = tokenizer(*texts)["input_ids"]
        windows = over_length == "window"
        cut = tokenizer(
            *texts,
            truncation=True,
            max_length=ROOM,
            stride=1 if windows else 0,
            return_overflowing_tokens=windows,
        )["input_ids"]
        found = [whole] if len(whole) <= ROOM else [] if over_length == "drop" else cut
        expected += found
        rows += [row] * len(found)
    assert examples["input_ids"].to_pylist() == expected
    assert examples["length"].to_pylist() == [len(tokens) for tokens in expected]
    assert examples.column_names.count("row") == (over_length != "truncate")
    if over_length != "truncate":
        assert examples["row"].to_pylist() == rows


def test_token_types_tell_the_second_text_from_the_first(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encoding.encode([TEXTS, TEXTS[::-1]], IDS, tokenizer, Tokenizer(), training=True)
    expected = tokenizer(TEXTS, TEXTS[::-1])
    assert examples["input_ids"].to_pylist() == expected["input_ids"]
    assert examples["token_type_ids"].to_pylist() == expected["token_type_ids"]


def test_no_text_is_no_example(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = encoding.encode([[]], [], tokenizer, Tokenizer(), training=True)
    assert len(examples) == 0
    assert examples.schema.field("input_ids").type == pa.list_(pa.int32())
