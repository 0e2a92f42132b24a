"""Without padding a model says, and learns, what it does with it."""

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, PreTrainedModel

from pipeline.model.unpadded import KINDS, layers, without_padding

LENGTHS = (3, 30, 1, 30, 27)
GROUPED = {"num_key_value_heads": 1}
MORE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("llama", "qwen2", "smollm3", "phi3", "olmo2"), GROUPED),
    **{kind: {**GROUPED, "head_dim": 8} for kind in ("gemma", "qwen3")},
    # Windows that are shorter than the longest sequence.
    "mistral": {**GROUPED, "sliding_window": 4},
    "gemma3_text": {
        **GROUPED,
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "modernbert": {"local_attention": 6, "global_attn_every_n_layers": 2},
}


def model_of(kind: str, auto: str) -> PreTrainedModel:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    more = MORE.get(kind, {})
    config = AutoConfig.for_model(kind, **sizes, intermediate_size=32, max_position_embeddings=64, **more)
    config.pad_token_id = 0
    found: PreTrainedModel = getattr(transformers, auto).from_config(config)
    return found.train(False)


def ragged() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def said_and_learned(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The outputs where there are tokens, and the gradient of their squares."""
    model.zero_grad()
    outputs = model(**inputs)[0]
    if outputs.ndim == 3:
        outputs = outputs[inputs["attention_mask"].bool()]
    outputs.square().sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    return outputs.detach(), gradient


def assert_unpadding_changes_nothing(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> None:
    outputs, gradient = said_and_learned(model, inputs)
    widths: list[torch.Size] = []
    linear = next(module for module in layers(model)[-1].modules() if type(module).__name__ in ("Linear", "Conv1D"))
    with without_padding(model, inputs), linear.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape)):
        flat_outputs, flat_gradient = said_and_learned(model, inputs)
    real = inputs["attention_mask"].sum()
    assert [width.numel() // width[-1] for width in widths] == [real + -real % 64]
    torch.testing.assert_close(flat_outputs, outputs, rtol=0, atol=1e-5)
    assert (flat_gradient - gradient).norm() <= 1e-5 * gradient.norm()
    assert torch.equal(said_and_learned(model, inputs)[0], outputs)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_ragged_rows_say_and_learn_the_same(kind: str) -> None:
    assert_unpadding_changes_nothing(model_of(kind, "AutoModel"), ragged())


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "llama"])
def test_a_head_sees_what_it_saw_with_padding(kind: str) -> None:
    assert_unpadding_changes_nothing(model_of(kind, "AutoModelForSequenceClassification"), ragged())


def test_choices_are_sequences_of_their_own() -> None:
    model = model_of("bert", "AutoModelForMultipleChoice")
    inputs = {name: values[:4].view(2, 2, -1) for name, values in ragged().items()}
    assert_unpadding_changes_nothing(model, inputs)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_mask_of_which_tokens_see_which_is_left_to_the_model(kind: str) -> None:
    model, inputs = model_of(kind, "AutoModel"), ragged()
    real = inputs["attention_mask"].bool()
    inputs["attention_mask"] = real[:, None, None] & torch.ones(max(LENGTHS), max(LENGTHS), dtype=torch.bool).tril()
    with torch.no_grad():
        outputs = model(**inputs)[0]
        with without_padding(model, inputs):
            assert torch.equal(model(**inputs)[0], outputs)


def test_rows_with_holes_keep_their_padding() -> None:
    model, inputs = model_of("mistral", "AutoModel"), ragged()
    inputs["attention_mask"][1, 4] = 0
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        outputs = model(**inputs)[0]
        with without_padding(model, inputs):
            assert torch.equal(model(**inputs)[0][real], outputs[real])
