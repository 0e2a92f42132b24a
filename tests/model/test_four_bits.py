"""Weights of 4 bits are refused where they cannot be held. What a GPU does with them is not tested here."""

import importlib.util

import pytest
import torch

from pipeline.errors import UserError
from pipeline.model.four_bits import check_four_bits, quantization
from pipeline.params import Hardware, Lora, Model, Params
from tests.model.test_lora import tiny


def params_of(**hardware: object) -> Params:
    model = Model(config=None, model_name_or_path="any", lora=Lora(modules_to_save=["pooler"]), load_in_4bit=True)
    return Params(model=model, hardware=Hardware.model_validate(hardware))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_four_bits(Params())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="need an NVIDIA GPU, and this machine has none"):
        check_four_bits(params_of())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match="use_cpu keeps off the GPU"):
        check_four_bits(params_of(use_cpu=True))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install bitsandbytes"):
        check_four_bits(params_of())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"hardware\.parallel: ddp"):
        check_four_bits(params_of(parallel="fsdp"))
    check_four_bits(params_of())


@pytest.mark.parametrize(
    ("head", "kind", "kept"),
    [
        ("ForSequenceClassification", "distilbert", ["pre_classifier", "classifier", "pooler", "pooler"]),
        ("ForCausalLM", "llama", ["pooler", "lm_head", "pooler"]),
    ],
)
def test_what_trains_whole_and_what_gives_words_stays_whole(head: str, kind: str, kept: list[str]) -> None:
    config = quantization(tiny(head, kind), params_of())
    assert config.load_in_4bit
    assert config.llm_int8_skip_modules == kept
    assert config.bnb_4bit_compute_dtype == torch.float32
