"""Tiny models of many kinds, for the tests of pipeline/model/."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Encoder

from pipeline.errors import UserError
from pipeline.model.build import build
from pipeline.model.check import check
from pipeline.model.export import export
from pipeline.model.tokenizer import make_tokenizer
from pipeline.params import Model, Params, Tokenizer, Train
from pipeline.tasks.base import Task
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT

TASK = TextClassification(("bad", "good"))
TEXTS = ["a short one", "a text that is a good deal longer, with rather different words in it", "one more"] * 10
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
HALF = ("layers", "attention_heads")
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
ALIKE = ("bert", "roberta", "modernbert", "deberta-v2", "electra", "llama")
GROUPED = ("qwen3", "gemma", "mistral")
ARCHITECTURES: dict[str, dict[str, Any]] = {
    **{kind: {"model_type": kind, **SIZES} for kind in ALIKE},
    **{kind: {"model_type": kind, **SIZES, "num_key_value_heads": 1, "head_dim": 16} for kind in GROUPED},
    "distilbert": {"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "gpt2": GPT2,
    "t5": {"model_type": "t5", "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2},
    "bart": {
        "model_type": "bart",
        "d_model": 32,
        **{f"{half}_{key}": 1 if key == "layers" else 2 for half in ("encoder", "decoder") for key in HALF},
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_position_embeddings": 64,
    },
}


def from_scratch(config: dict[str, Any], **tokenizer: Any) -> Params:
    settings = {"vocab_size": 300, "max_seq_length": 16, **tokenizer}
    return Params(model=Model(config=config), tokenizer=Tokenizer.model_validate(settings))


def pretrained(name: Path | str, *, max_seq_length: int = 16, **model: Any) -> Params:
    return Params(
        model=Model(config=None, model_name_or_path=str(name), **model),
        tokenizer=Tokenizer(max_seq_length=max_seq_length),
        train=Train(learning_rate=2e-5),
    )


def built(params: Params, task: Task = TASK, seed: int = 0) -> tuple[PreTrainedModel, Encoder]:
    encoder = make_tokenizer(params, TEXTS)
    torch.manual_seed(seed)
    return build(params, task, encoder), encoder


def refused(params: Params, task: type[Task] = TextClassification) -> str:
    """What `check` says."""
    with pytest.raises(UserError) as caught:
        check(params, task)
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    assert all(len(line) < 350 for line in message.splitlines())
    return message


def export_tiny(folder: Path) -> Path:
    """A tiny BERT as the train stage exports it."""
    params = from_scratch(TINY_BERT)
    export(*built(params), TASK, params, folder / "data" / "models" / "tiny")
    return folder / "data" / "models" / "tiny"


def edit_config(model_folder: Path, **values: Any) -> None:
    file = model_folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
