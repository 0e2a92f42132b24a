"""Texts that a model writes: those of the plain `generate` of transformers, whatever stands beside a prompt."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipeline.data import tokenizer as tokenizers
from pipeline.evaluation.generate import generate
from pipeline.params import Evaluate, Hardware, Tokenizer
from pipeline.tasks.base import Collation
from pipeline.world import World

ENCODING = Tokenizer(vocab_size=300, max_seq_length=32)
TEXTS = ["one", "a longer text than that", "two of them", "and some more words, and more, and more", "b", "c d", "one"]
SIZES: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
    "bart": {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "max_position_embeddings": 64,
    },
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 48},
    "llama": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
}


@dataclass
class Prompted:
    """As much of a task as `generate` asks for."""

    def prompts(self, rows: pa.Table, tokenizer: PreTrainedTokenizerBase, settings: Tokenizer) -> list[list[int]]:
        return tokenizer(rows["text"].to_pylist())["input_ids"]


@pytest.fixture(scope="module")
def encoder() -> PreTrainedTokenizerBase:
    return tokenizers.train(TEXTS * 5, ENCODING)


@pytest.fixture(scope="module")
def world() -> World:
    return World.start(Hardware(use_cpu=True), "fp32")


def model_of(kind: str, encoder: PreTrainedTokenizerBase) -> PreTrainedModel:
    config = transformers.AutoConfig.for_model(
        kind,
        **SIZES[kind],
        vocab_size=len(encoder),
        pad_token_id=encoder.pad_token_id,
        bos_token_id=encoder.cls_token_id,
        eos_token_id=encoder.sep_token_id,
        decoder_start_token_id=encoder.pad_token_id,
    )
    auto = "AutoModelForSeq2SeqLM" if config.is_encoder_decoder else "AutoModelForCausalLM"
    torch.manual_seed(1)
    model: PreTrainedModel = getattr(transformers, auto).from_config(config)
    for weights in model.parameters():  # small ones write one token again and again
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.5)
    return model


def written(
    model: PreTrainedModel, encoder: PreTrainedTokenizerBase, world: World, texts: list[str], **asked: Any
) -> list[str | None]:
    most, tokens = asked.pop("most", None), asked.pop("tokens", 32)
    rows = generate(
        model,
        Prompted(),  # type: ignore[arg-type]
        pa.table({"text": texts}),
        Collation(model.config, encoder),
        world,
        ENCODING,
        Evaluate(**{"max_new_tokens": 12} | asked),
        tokens,
        "write",
        most,
    )
    return rows["generated"].to_pylist()


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("kind", SIZES)
def test_each_text_is_the_one_that_transformers_writes_to_the_prompt_alone(
    kind: str, num_beams: int, encoder: PreTrainedTokenizerBase, world: World
) -> None:
    model = model_of(kind, encoder)
    theirs = []
    for text in TEXTS:
        prompt = encoder(text, return_tensors="pt")["input_ids"]
        made = model.eval().generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=num_beams,
            max_new_tokens=12,
            eos_token_id=encoder.sep_token_id,
        )
        new = made[0] if model.config.is_encoder_decoder else made[0, prompt.shape[1] :]
        theirs.append(encoder.decode(new, skip_special_tokens=True).strip())
    assert len(set(theirs)) > 1, "the model says different things"
    model.train()
    assert written(model, encoder, world, TEXTS, num_beams=num_beams) == theirs
    assert model.training
    assert written(model, encoder, world, TEXTS[::-1], num_beams=num_beams, tokens=1) == theirs[::-1]


def test_prompts_lose_their_beginning_where_the_model_has_no_positions_left(
    encoder: PreTrainedTokenizerBase, world: World
) -> None:
    model = model_of("gpt2", encoder)
    long = "one two three four five six seven eight nine ten eleven twelve"
    ids = encoder(long)["input_ids"]
    assert len(ids) > 36
    made = model.eval().generate(torch.tensor([ids[-36:]]), do_sample=False, max_new_tokens=12, eos_token_id=3)
    theirs = encoder.decode(made[0, 36:], skip_special_tokens=True).strip()
    assert written(model, encoder, world, ["a", long]) == [*written(model, encoder, world, ["a"]), theirs]


def test_a_few_rows_get_a_text_and_the_others_none(encoder: PreTrainedTokenizerBase, world: World) -> None:
    model = model_of("t5", encoder)
    every, few = written(model, encoder, world, TEXTS), written(model, encoder, world, TEXTS, most=3)
    assert few == [text if place in (0, 3, 6) else None for place, text in enumerate(every)]
    assert written(model, encoder, world, TEXTS, most=0) == [None] * len(TEXTS)
