"""A tokenizer that is trained here: what frames a text, and what comes back of it."""

import unicodedata
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipeline.data.chat import TURN_END, TURN_START
from pipeline.data.tokenizer import DECODER, ENCODER, ENCODER_DECODER, Style, train
from pipeline.params import Tokenizer

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


KINDS = ("bpe", "wordpiece", "unigram")
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Does the dog\nmind?"},
    {"role": "assistant", "content": "\n the lazy dog does not mind "},
    {"role": "user", "content": "And the fox?"},
    {"role": "assistant", "content": "the fox jumps"},
]


def made(style: Style = ENCODER, *, chat: bool = False, **settings: object) -> PreTrainedTokenizerFast:
    chosen = Tokenizer.model_validate({"vocab_size": 400, "max_seq_length": 16, **settings})
    return train(iter(TEXTS), chosen, style, chat=chat)


def text_of(encoder: PreTrainedTokenizerFast, text: str) -> str:
    """The text that its tokens stand for, less the blank that is put before its first word."""
    return encoder.decode(encoder(text)["input_ids"], skip_special_tokens=True).removeprefix(" ")


def test_it_learns_words_up_to_the_size_that_is_asked() -> None:
    assert len(made(vocab_size=300)) == 300
    assert len(made(vocab_size=320)) == 320
    assert len(made(vocab_size=320)("the dog")["input_ids"]) < len(made(vocab_size=300)("mind")["input_ids"]) + 4


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("text", UNSEEN)
def test_on_bytes_any_text_comes_back_and_none_is_unknown(text: str, lower: bool) -> None:
    encoder = made(do_lower_case=lower)
    ids = encoder(text)["input_ids"]
    assert encoder.unk_token_id not in ids
    composed = unicodedata.normalize("NFC", text)
    assert text_of(encoder, text) == (composed.lower() if lower else composed).removeprefix(" ")


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_without_bytes_known_words_come_back_and_strange_characters_are_unknown(kind: str) -> None:
    encoder = made(tokenizer_type=kind, do_lower_case=True)
    assert text_of(encoder, "the lazy dog,\n das Mädchen") == "the lazy dog, das mädchen"
    assert encoder.unk_token_id not in encoder("the lazy dog, das Mädchen")["input_ids"]
    assert encoder.unk_token_id in encoder("Ελληνικά")["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_case_is_folded_only_when_asked(kind: str) -> None:
    for lower in (True, False):
        encoder = made(do_lower_case=lower, tokenizer_type=kind)
        assert (encoder("The Fox")["input_ids"] == encoder("the fox")["input_ids"]) == lower


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("style", "special", "single", "pair"),
    [
        (ENCODER, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], "[CLS]|[SEP]", "[CLS]|[SEP]|[SEP]"),
        (DECODER, ["[PAD]", "[UNK]", "[BOS]", "[EOS]"], "[BOS]|[EOS]", "[BOS]|[EOS]|[EOS]"),
        (ENCODER_DECODER, ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "[MASK]"], "|[EOS]", "|[EOS]|[EOS]"),
    ],
)
def test_special_tokens_come_first_and_frame_the_texts(
    kind: str, style: Style, special: list[str], single: str, pair: str
) -> None:
    encoder = made(style, tokenizer_type=kind)
    assert encoder.convert_ids_to_tokens(range(len(special))) == special
    assert set(encoder.all_special_tokens) == set(special)
    assert encoder.pad_token_id == 0
    assert encoder.padding_side == "right"
    assert encoder.chat_template is None
    texts = ("the dog", "a fox")
    bare = ["".join(encoder.tokenize(text)) for text in texts]
    for expected, given in ((single, texts[:1]), (pair, texts)):
        first, *lasts = expected.split("|")
        found = encoder.convert_ids_to_tokens(encoder(*given)["input_ids"])
        assert "".join(found) == first + "".join(text + last for text, last in zip(bare, lasts, strict=False))
    assert encoder.convert_ids_to_tokens(encoder("")["input_ids"]) == [token for token in single.split("|") if token]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", [DECODER, ENCODER])
def test_the_assistants_turns_are_told_apart(tmp_path: Path, style: Style, kind: str) -> None:
    made(style, chat=True, tokenizer_type=kind).save_pretrained(tmp_path)
    encoder = AutoTokenizer.from_pretrained(tmp_path, model_max_length=1000)
    assert encoder.eos_token == TURN_END
    assert {TURN_START, TURN_END} <= set(encoder.all_special_tokens)
    found = encoder.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = found["input_ids"], found["assistant_masks"]
    said = encoder.decode([each for each, his in zip(ids, mask, strict=True) if his])
    assert [" ".join(turn.split()) for turn in said.split(TURN_END)] == [
        "the lazy dog does not mind",
        "the fox jumps",
        "",
    ]
    assert ids.count(encoder.eos_token_id) == len(CHAT)
    assert sum(each == encoder.eos_token_id and his for each, his in zip(ids, mask, strict=True)) == 2


def test_what_is_asked_ends_where_the_assistant_begins() -> None:
    encoder = made(DECODER, chat=True)
    asked = encoder.apply_chat_template(CHAT[:2], add_generation_prompt=True, tokenize=False)
    turns = ("system\nBe kind.<|im_end|>\n", "user\nDoes the dog\nmind?<|im_end|>\n", "assistant\n")
    assert asked == "".join(f"<|im_start|>{turn}" for turn in turns)
    assert encoder.apply_chat_template(CHAT[:3], tokenize=False).startswith(asked)


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


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_when_loaded_again(tmp_path: Path, kind: str) -> None:
    encoder = made(tokenizer_type=kind)
    encoder.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(encoder)
    assert loaded.model_max_length == 16
    for text in (*TEXTS, *UNSEEN):
        assert dict(loaded(text, "pair", verbose=False)) == dict(encoder(text, "pair", verbose=False))
