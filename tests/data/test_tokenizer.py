"""A tokenizer that is trained here: the same file every time, and no text that it cannot say."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline.data.tokenizer import SPECIAL_TOKENS, train
from pipeline.params import Tokenizer
from tests.conftest import REPOSITORY

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Training a tokenizer twice gives the same file.",
    "Das Mädchen aß im Café; 日本語 too, and emoji 🎉.",
] * 5
UNSEEN = [
    "",
    "word",
    "  two  blanks ",
    "ÄÖÜ ß ñ ç",
    "Ελληνικά",
    "日本語テキスト",
    "🎉👩‍👩‍👧",
    "\t\n\x00\x7f",
    "e\u0301 = é",
    "a" * 500,
]


def made(**settings: object) -> PreTrainedTokenizerFast:
    return train(iter(TEXTS), Tokenizer.model_validate({"vocab_size": 400, "max_seq_length": 16, **settings}))


def text_of(encoder: PreTrainedTokenizerFast, text: str) -> str:
    """The text that its tokens stand for, less the blank that is put before its first word."""
    return encoder.decode(encoder(text)["input_ids"], skip_special_tokens=True).removeprefix(" ")


def test_training_in_a_fresh_process_gives_the_same_file(tmp_path: Path) -> None:
    made().save_pretrained(tmp_path / "here")
    code = (
        "import json, sys; from pipeline import environment; environment.prepare();"
        "from pipeline.data.tokenizer import train; from pipeline.params import Tokenizer;"
        "train(json.load(sys.stdin), Tokenizer(vocab_size=400, max_seq_length=16)).save_pretrained(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"},
        input=json.dumps(TEXTS),
        text=True,
        check=True,
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_it_learns_words_up_to_the_size_that_is_asked() -> None:
    assert len(made(vocab_size=300)) == 300
    assert len(made(vocab_size=320)) == 320
    assert len(made(vocab_size=320)("the dog")["input_ids"]) < len(made(vocab_size=300)("mind")["input_ids"]) + 4


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("text", UNSEEN)
def test_any_text_comes_back_and_none_is_unknown(text: str, lower: bool) -> None:
    encoder = made(do_lower_case=lower)
    ids = encoder(text)["input_ids"]
    assert encoder.unk_token_id not in ids
    composed = unicodedata.normalize("NFC", text)
    assert text_of(encoder, text) == (composed.lower() if lower else composed).removeprefix(" ")


def test_case_is_folded_only_when_asked() -> None:
    assert made(do_lower_case=True)("The Dog")["input_ids"] == made(do_lower_case=True)("the dog")["input_ids"]
    assert made(do_lower_case=False)("The Dog")["input_ids"] != made(do_lower_case=False)("the dog")["input_ids"]


def test_special_tokens_come_first_and_frame_the_text() -> None:
    encoder = made()
    assert encoder.convert_ids_to_tokens(range(5)) == list(SPECIAL_TOKENS.values())
    ids = encoder("the dog")["input_ids"]
    assert (ids[0], ids[-1]) == (encoder.cls_token_id, encoder.sep_token_id)
    assert encoder("")["input_ids"] == [encoder.cls_token_id, encoder.sep_token_id]
    assert encoder.pad_token_id == 0
    assert encoder.padding_side == "right"


def test_a_pair_is_told_apart_by_its_types() -> None:
    encoder = made()
    one, other = (encoder(text)["input_ids"] for text in ("the dog", "a fox"))
    pair = encoder("the dog", "a fox")
    assert pair["input_ids"] == [*one, *other[1:]]
    assert pair["token_type_ids"] == [0] * len(one) + [1] * (len(other) - 1)


def test_texts_are_cut_at_the_longest_length() -> None:
    encoder = made()
    ids = encoder("the lazy dog " * 50, truncation=True)["input_ids"]
    assert len(ids) == encoder.model_max_length == 16
    assert ids[-1] == encoder.sep_token_id


def test_it_is_the_same_when_loaded_again(tmp_path: Path) -> None:
    encoder = made()
    encoder.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(encoder)
    assert loaded.model_max_length == 16
    for text in (*TEXTS, *UNSEEN):
        assert dict(loaded(text, "pair")) == dict(encoder(text, "pair"))
