"""A configuration that makes no model is told by its key, and texts are no longer than the model takes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
)

from pipeline.model.check import check
from pipeline.model.config import positions
from pipeline.tasks.text_classification import TextClassification
from tests.conftest import TINY_BERT
from tests.model.tiny import (
    ARCHITECTURES,
    GPT2,
    SIZES,
    from_scratch,
    refused,
)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "brt"}, "model.config.model_type: transformers knows no 'brt'. Did you mean 'bert'?"),
        ({"model_type": "modernber"}, "Did you mean 'modernbert'?"),
        ({"model_type": "bert", "hiden_size": 8}, "model.config.hiden_size is no key of a bert configuration."),
        ({"model_type": "bert", "hiden_size": 8}, "Did you mean 'hidden_size'?"),
        ({**TINY_BERT, "vocab_size": 100}, "model.config.vocab_size comes from the tokenizer. Remove the line."),
        ({**TINY_BERT, "pad_token_id": 3}, "model.config.pad_token_id comes from the tokenizer. Remove the line."),
        ({**TINY_BERT, "num_labels": 3}, "model.config.num_labels comes from the task. Remove the line."),
        ({**GPT2, "n_heads": 8}, "model.config.n_heads is no key of a gpt2 configuration. Did you mean 'n_head'?"),
        ({**TINY_BERT, "hidden_size": "big"}, "Field 'hidden_size' expected int, got str (value: 'big')"),
        ({**TINY_BERT, "hidden_size": None}, "Field 'hidden_size' expected int, got NoneType (value: None)"),
        ({**TINY_BERT, "hidden_size": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**GPT2, "n_embd": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**ARCHITECTURES["electra"], "hidden_size": 33}, "hidden_size 33 is no multiple of num_attention_heads 2."),
        ({**TINY_BERT, "num_attention_heads": 0}, "this bert model cannot be built: "),
        ({**TINY_BERT, "hidden_act": "gelo"}, "this bert model cannot be built: there is no 'gelo'"),
        ({**TINY_BERT, "hidden_dropout_prob": 3.0}, "dropout probability has to be between 0 and 1, but got 3.0"),
        ({"model_type": "modernbert", "classifier_pooling": "max"}, "expected one of ('cls', 'mean'), got max"),
        ({**SIZES, "model_type": "mistral"}, "num_attention_heads 2 is no multiple of num_key_value_heads 8."),
        ({"model_type": "vit"}, "model: transformers has no AutoModelForSequenceClassification for vit"),
    ],
)
def test_a_config_that_makes_no_model_is_told_by_its_key(folder: Path, config: dict[str, Any], said: str) -> None:
    message = refused(from_scratch(config))
    assert message.startswith("params.yaml: ")
    assert said in message


def test_models_without_a_limit_and_with_heads_of_a_size_of_their_own_pass(folder: Path) -> None:
    xlnet = {"model_type": "xlnet", "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "summary_type": "first"}
    assert check(from_scratch(xlnet, max_seq_length=4096), TextClassification) == []
    assert check(from_scratch({"model_type": "reformer"}), TextClassification) == []


@pytest.mark.parametrize(("kind", "limit"), [("bert", 64), ("gpt2", 64), ("roberta", 62), ("distilbert", 512)])
def test_the_longest_text_that_the_model_takes(folder: Path, kind: str, limit: int) -> None:
    check(from_scratch(ARCHITECTURES[kind], max_seq_length=limit), TextClassification)
    assert refused(from_scratch(ARCHITECTURES[kind], max_seq_length=limit + 1)) == (
        f"params.yaml: tokenizer.max_seq_length is {limit + 1}, but the {kind} model has {limit} positions. "
        f"Set it to {limit} or less."
    )


@pytest.mark.parametrize("kind", ["bert", "roberta", "camembert", "xlm-roberta", "roberta-prelayernorm", "ibert"])
def test_the_positions_are_those_that_the_model_can_run(kind: str) -> None:
    config = AutoConfig.for_model(kind, **{**SIZES, "vocab_size": 50, "pad_token_id": 1})
    limit = positions(config)
    assert limit is not None
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.inference_mode():
        model(input_ids=torch.full((1, limit), 7))
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=torch.full((1, limit + 1), 7))
