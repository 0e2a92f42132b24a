"""Every architecture with every head that transformers has for it: built as params say it, indifferent to padding.

The plain run takes one head of each architecture and one architecture of each head; the marker `wide` has all of them.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import UserError
from pipeline.model.config import load_config
from pipeline.model.fit import adapt, check_fit, check_head
from pipeline.model.tokenizer import make_tokenizer
from tests.model.tiny import ARCHITECTURES, TEXTS, from_scratch

CLASSIFY, TAG, ANSWER, CHOOSE, FILL, WRITE, TRANSLATE, EMBED = (
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelForQuestionAnswering",
    "AutoModelForMultipleChoice",
    "AutoModelForMaskedLM",
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModel",
)
HEADS = (CLASSIFY, TAG, ANSWER, CHOOSE, FILL, WRITE, TRANSLATE, EMBED)
OF_ENCODERS = (CLASSIFY, TAG, ANSWER, CHOOSE, FILL, EMBED)
OF_DECODERS = (CLASSIFY, TAG, ANSWER, WRITE, EMBED)
POSSIBLE = {
    **dict.fromkeys(("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "electra"), OF_ENCODERS),
    **dict.fromkeys(("gpt2", "llama", "qwen3", "mistral"), OF_DECODERS),
    "gemma": (CLASSIFY, TAG, WRITE, EMBED),
    "t5": (CLASSIFY, TAG, ANSWER, TRANSLATE),
    "bart": (CLASSIFY, ANSWER, FILL, WRITE, TRANSLATE),
}
# test_build.py classifies with eight of them.
PLAIN = {
    ("bert", CHOOSE),
    ("roberta", FILL),
    ("distilbert", ANSWER),
    ("modernbert", TAG),
    ("deberta-v2", EMBED),
    ("electra", FILL),
    ("gpt2", WRITE),
    ("llama", TAG),
    ("qwen3", WRITE),
    ("gemma", CLASSIFY),
    ("mistral", WRITE),
    ("t5", TRANSLATE),
    ("t5", CLASSIFY),
    ("bart", TRANSLATE),
    ("bart", CLASSIFY),
}
PAIRS = [
    pytest.param(kind, head, marks=() if (kind, head) in PLAIN else pytest.mark.wide)
    for kind, heads in POSSIBLE.items()
    for head in heads
]


def made(kind: str, head: str, **values: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model from scratch, by the way of the stages."""
    params = from_scratch({**ARCHITECTURES[kind], **values})
    config, encoder = load_config(params.model), make_tokenizer(params, TEXTS)
    adapt(config, encoder, pretrained=False)
    check_fit(config, encoder, params.tokenizer.max_seq_length)
    check_head(config, head)
    torch.manual_seed(0)
    return getattr(transformers, head).from_config(config).eval(), encoder


def outputs(
    model: PreTrainedModel, head: str, encoder: PreTrainedTokenizerBase, texts: list[str]
) -> list[torch.Tensor]:
    """What the model says of each text, its padding cut off."""
    encoded = encoder(texts, padding=True, return_tensors="pt")
    inputs = dict(encoded)
    if head == CHOOSE:  # each text is the one choice of its example
        inputs = {name: tensor[:, None] for name, tensor in inputs.items()}
    if head == TRANSLATE:  # into itself
        inputs["decoder_input_ids"] = encoded["input_ids"].roll(1, dims=1)
        inputs["decoder_input_ids"][:, 0] = model.config.decoder_start_token_id
    with torch.inference_mode():
        found = model(**inputs)
    if head == ANSWER:
        values = torch.stack([found.start_logits, found.end_logits], dim=-1)
    else:
        values = found.last_hidden_state if head == EMBED else found.logits
    if head in (CLASSIFY, CHOOSE):
        return list(values)
    return [row[:length] for row, length in zip(values, encoded["attention_mask"].sum(dim=1), strict=True)]


@pytest.mark.parametrize(("kind", "head"), PAIRS)
def test_it_is_built_and_padding_changes_nothing(folder: Path, kind: str, head: str) -> None:
    model, encoder = made(kind, head)
    assert model.config.vocab_size == len(encoder) == 300
    together = outputs(model, head, encoder, TEXTS[:3])
    assert torch.cat(together).std() > 0
    assert len({len(ids) for ids in encoder(TEXTS[:3])["input_ids"]}) > 1, "nothing is padded"
    for text, found in zip(TEXTS, together, strict=False):
        (alone,) = outputs(model, head, encoder, [text])
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, alone, rtol=1e-5, atol=2e-6)  # 3e-5 apart without the mask


@pytest.mark.parametrize("kind", POSSIBLE)
def test_a_head_that_there_is_not_is_refused_with_what_has_one(kind: str) -> None:
    config = load_config(from_scratch(ARCHITECTURES[kind]).model)
    for head in set(HEADS) - set(POSSIBLE[kind]):
        with pytest.raises(UserError) as caught:
            check_head(config, head)
        first, second = str(caught.value).splitlines()
        assert first.startswith("params.yaml: model: ")
        assert kind in first
        assert second.startswith("Take a ")


@pytest.mark.parametrize("kind", ["bert", "electra", "roberta"])
def test_an_encoder_that_sees_what_it_shall_predict_writes_only_as_a_decoder(folder: Path, kind: str) -> None:
    with pytest.raises(UserError, match="each token sees those behind it"):
        made(kind, WRITE)
    model, encoder = made(kind, WRITE, is_decoder=True)
    ids = encoder("a short one", return_tensors="pt")["input_ids"]
    changed = ids.clone()
    changed[0, -1] = encoder.pad_token_id
    with torch.inference_mode():
        before, after = (model(input_ids=each).logits for each in (ids, changed))
    torch.testing.assert_close(before[:, :-1], after[:, :-1])


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_encoder_decoder_writes_from_its_start_to_its_end(folder: Path, kind: str) -> None:
    model, encoder = made(kind, TRANSLATE)
    assert model.config.decoder_start_token_id == encoder.bos_token_id
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()  # whatever it learned, its next word is a matter of chance
    ids = model.generate(**encoder(TEXTS[:2], padding=True, return_tensors="pt"), max_new_tokens=4, do_sample=False)
    assert ids[:, 0].tolist() == [encoder.bos_token_id] * 2
    assert model.generation_config.eos_token_id == encoder.eos_token_id
    assert model.generation_config.pad_token_id == encoder.pad_token_id
    if kind == "bart":  # which ends at its longest, too
        assert ids[:, -1].tolist() == [encoder.eos_token_id] * 2
