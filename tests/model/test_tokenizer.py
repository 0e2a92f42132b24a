"""The tokenizer makes what the model takes, wherever it comes from."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoTokenizer, BertTokenizer

from pipeline.data.chat import TURN_END
from pipeline.errors import UserError
from pipeline.model.check import check
from pipeline.model.config import load_config
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Tokenizer
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    GPT2,
    TEXTS,
    built,
    edit_config,
    from_scratch,
    pretrained,
    refused,
)


class Talking(TextClassification):  # type: ignore[misc]  # final, but for a test
    """A task whose tokenizer needs a chat template."""

    takes_turns = True


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


def drop(folder: Path, *names: str, **values: str | int) -> None:
    """Take settings out of a kept tokenizer, and put others in."""
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in settings.items() if name not in names} | values))


@pytest.mark.parametrize(("eos", "pads"), [("[SEP]", True), (None, False)])
def test_a_tokenizer_without_padding_pads_with_its_end_or_is_refused(
    exported: Path, folder: Path, eos: str | None, pads: bool
) -> None:
    drop(exported, "pad_token", **({"eos_token": eos} if eos else {}))
    params = from_scratch(TINY_BERT, tokenizer_name="data/models/tiny")
    if not pads:
        assert "has no padding token" in refused(params)
        return
    assert check(params, TextClassification) == []
    model, encoder = built(params)
    assert encoder.pad_token == "[SEP]"
    assert model.config.pad_token_id == encoder.pad_token_id is not None


def test_a_decoder_reads_texts_that_a_foreign_tokenizer_ends_its_own_way(exported: Path, folder: Path) -> None:
    encoder = make_tokenizer(from_scratch(GPT2, tokenizer_name="data/models/tiny"), [])
    assert (encoder.bos_token, encoder.eos_token, encoder.pad_token) == ("[CLS]", "[SEP]", "[PAD]")
    encoder.save_pretrained("kept")
    assert AutoTokenizer.from_pretrained("kept").eos_token == "[SEP]"


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [("bert", "[CLS]", "[SEP]"), ("roberta", "[CLS]", "[SEP]"), ("electra", "[CLS]", "[SEP]")]
    + [(kind, "[BOS]", "[EOS]") for kind in ("gpt2", "llama", "qwen3", "gemma", "mistral")]
    + [(kind, None, "[EOS]") for kind in ("t5", "bart")],
)
def test_a_tokenizer_from_scratch_has_what_the_architecture_needs(
    folder: Path, kind: str, first: str | None, last: str
) -> None:
    encoder = make_tokenizer(from_scratch(ARCHITECTURES[kind], tokenizer_type="wordpiece"), TEXTS)
    framed = [first, "short", last] if first else ["short", last]
    assert encoder.convert_ids_to_tokens(encoder("short")["input_ids"]) == framed


def pretrained_decoder(folder: Path, kind: str, room: int = 0) -> Path:
    """A decoder as many are published: its tokenizer has no padding token and puts nothing behind a text."""
    params = from_scratch(ARCHITECTURES[kind])
    encoder = make_tokenizer(params, TEXTS)
    torch.manual_seed(1)
    config = load_config(params.model)
    config.update({"vocab_size": len(encoder) + room, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": None})
    path = folder / "data" / "models" / kind
    AutoModelForCausalLM.from_config(config).save_pretrained(path)
    encoder.backend_tokenizer.post_processor = processors.ByteLevel()
    encoder.save_pretrained(path)
    drop(path, "pad_token")
    return path


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_pretrained_decoder_without_padding_classifies_by_its_last_real_token(folder: Path, kind: str) -> None:
    params = pretrained(pretrained_decoder(folder, kind))
    assert check(params, TextClassification) == []
    model, encoder = built(params)
    model.eval()
    assert encoder.pad_token == encoder.eos_token == "[EOS]"
    assert model.config.pad_token_id == encoder.pad_token_id
    assert encoder("a short one")["input_ids"][-1] != encoder.eos_token_id
    with torch.inference_mode():
        together = model(**encoder(TEXTS[:3], padding=True, return_tensors="pt")).logits
        states = [model.base_model(**encoder(text, return_tensors="pt")).last_hidden_state[:, -1] for text in TEXTS[:3]]
        torch.testing.assert_close(together, model.score(torch.cat(states)), rtol=1e-5, atol=2e-6)


def test_the_padding_of_a_pretrained_decoder_is_that_of_its_tokenizer(folder: Path) -> None:
    path = pretrained_decoder(folder, "llama")
    edit_config(path, pad_token_id=7)  # which is a letter
    model, encoder = built(pretrained(path))
    assert model.config.pad_token_id == encoder.pad_token_id == 3


def test_a_pretrained_tokenizer_takes_turns_where_the_model_has_room(folder: Path) -> None:
    path = pretrained_decoder(folder, "llama", room=2)
    params = pretrained(path)
    assert make_tokenizer(params, []).chat_template is None
    encoder = make_tokenizer(params, [], chat=True)
    assert (encoder.eos_token, encoder.pad_token) == (TURN_END, "[EOS]")
    found = encoder.apply_chat_template(
        [{"role": "user", "content": "short?"}, {"role": "assistant", "content": "one"}],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    said = [each for each, his in zip(found["input_ids"], found["assistant_masks"], strict=True) if his]
    assert encoder.decode(said) == "one" + TURN_END
    assert max(found["input_ids"]) == len(encoder) - 1 == 301
    assert check(params, Talking) == []

    drop(path, chat_template="{{ messages[0]['content'] }}")
    assert make_tokenizer(params, [], chat=True).chat_template == "{{ messages[0]['content'] }}"


def test_a_pretrained_model_without_room_for_turns_is_refused(folder: Path) -> None:
    params = pretrained(pretrained_decoder(folder, "gpt2", room=1))
    with pytest.raises(UserError) as caught:
        check(params, Talking)
    first, second = str(caught.value).splitlines()
    assert first.startswith("model.model_name_or_path: ")
    assert "has no chat template, and the model's vocabulary of 301 has no room" in first
    assert "-instruct" in second
    assert check(params, TextClassification) == []
