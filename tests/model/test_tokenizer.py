"""The tokenizer makes what the model takes, wherever it comes from."""

import json
from pathlib import Path

import pytest
from transformers import (
    AutoTokenizer,
    BertTokenizer,
)

from pipeline.model.check import check
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Tokenizer
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    GPT2,
    TEXTS,
    built,
    from_scratch,
    pretrained,
    refused,
)


@pytest.mark.parametrize(
    ("kind", "has"),
    [("bert", True), ("electra", True), ("modernbert", False), ("distilbert", False), ("deberta-v2", False)],
)
def test_token_types_are_made_only_where_the_model_takes_them(folder: Path, kind: str, has: bool) -> None:
    encoder = make_tokenizer(from_scratch(ARCHITECTURES[kind]), TEXTS)
    encoder.save_pretrained(folder / "kept")
    for one in (encoder, AutoTokenizer.from_pretrained(folder / "kept")):
        assert ("token_type_ids" in one("a", "pair")) == has


def test_a_tokenizer_that_makes_token_types_by_its_class_does_not_where_the_model_takes_none(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "short", "text", "##s"]
    BertTokenizer(vocab={word: place for place, word in enumerate(words)}).save_pretrained("wordpiece")
    encoder = make_tokenizer(from_scratch(ARCHITECTURES["distilbert"], tokenizer_name="./wordpiece"), [])
    encoder.save_pretrained("kept")
    for one in (encoder, AutoTokenizer.from_pretrained("kept")):
        assert dict(one("short texts", "text")) == {"input_ids": [2, 5, 6, 7, 3, 6, 3], "attention_mask": [1] * 7}


def test_a_tokenizer_by_its_own_name(exported: Path, folder: Path) -> None:
    params = from_scratch(GPT2, tokenizer_name="data/models/tiny")
    assert check(params, TextClassification) == []
    model, encoder = built(params)
    assert model.config.vocab_size == len(encoder) == 300
    missing = from_scratch(GPT2, tokenizer_name="data/models/tin")
    assert refused(missing) == "tokenizer.tokenizer_name: there is no folder data/models/tin. Did you mean 'tiny'?"


def test_a_tokenizer_larger_than_the_model_is_refused_and_says_what_to_do(exported: Path, folder: Path) -> None:
    larger = from_scratch(TINY_BERT, vocab_size=320)
    make_tokenizer(larger, TEXTS).save_pretrained(folder / "larger")
    tokenizer = Tokenizer(tokenizer_name="./larger", max_seq_length=16)
    params = pretrained(exported).model_copy(update={"tokenizer": tokenizer})
    said = refused(params)
    assert "do not fit" in said
    assert "Leave tokenizer.tokenizer_name null" in said


@pytest.mark.parametrize(("eos", "pads"), [("[SEP]", True), (None, False)])
def test_a_tokenizer_without_padding_pads_with_its_end_or_is_refused(
    exported: Path, folder: Path, eos: str | None, pads: bool
) -> None:
    file = exported / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings if eos is None else {**settings, "eos_token": eos}))
    params = from_scratch(GPT2, tokenizer_name="data/models/tiny")
    if not pads:
        assert "has no padding token" in refused(params)
        return
    assert check(params, TextClassification) == []
    model, encoder = built(params)
    assert encoder.pad_token == "[SEP]"
    assert model.config.pad_token_id == encoder.pad_token_id is not None
