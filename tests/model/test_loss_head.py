"""A head that gives the loss gives the loss of its logits, and the gradient of that."""

from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional
from transformers import AutoConfig, PreTrainedModel

from pipeline.data.packing import NO_TARGET
from pipeline.model import loss_head
from pipeline.model.loss_head import KINDS, gives_loss, summed_loss

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 32,
}
MORE: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "gpt_neo": {"attention_types": [[["global"], 2]], "num_layers": 2, "num_heads": 2},
    "gptj": {"rotary_dim": 4},
    "opt": {"ffn_dim": 32, "word_embed_proj_dim": 16},
    **{kind: {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2} for kind in ("t5", "mt5")},
}


def model_of(kind: str, **more: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **MORE.get(kind, {}), **more})
    config.pad_token_id = 0
    config.use_cache = False
    for auto in ("AutoModelForSeq2SeqLM", "AutoModelForMaskedLM", "AutoModelForCausalLM"):
        head = getattr(transformers, auto)
        if type(config) in head._model_mapping:
            found: PreTrainedModel = head.from_config(config)
            return found.train(False)
    raise AssertionError(kind)


def asked(model: PreTrainedModel) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs, and labels of which some are none."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 50, (3, 7), generator=draw)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids.flip(1)
    labels = torch.randint(0, 50, (3, 7), generator=draw)
    labels[:, ::3] = NO_TARGET
    return inputs, labels


def gradient(model: PreTrainedModel, loss: torch.Tensor) -> torch.Tensor:
    model.zero_grad()
    (loss / 5).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def both(model: PreTrainedModel, smoothing: float = 0.0) -> tuple[tuple[float, torch.Tensor], ...]:
    """Loss and gradient by the logits, and by the head."""
    inputs, labels = asked(model)
    logits = model(**inputs).logits.float().flatten(0, 1)
    plain = functional.cross_entropy(logits, labels.flatten(), reduction="sum", label_smoothing=smoothing)
    plainly = plain.item(), gradient(model, plain)
    with summed_loss(model, labels, smoothing):
        summed = model(**inputs).logits
    return plainly, (summed.item(), gradient(model, summed))


def assert_equal(plainly: tuple[float, torch.Tensor], summed: tuple[float, torch.Tensor], rel: float = 1e-5) -> None:
    assert summed[0] == pytest.approx(plainly[0], rel=rel)
    assert torch.linalg.norm(summed[1] - plainly[1]) <= rel * torch.linalg.norm(plainly[1])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_loss_and_gradient_are_those_of_the_logits(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_head, "_POSITIONS", 4)  # more than one part, and one that is not full
    model = model_of(kind)
    assert gives_loss(model)
    assert_equal(*both(model))
    assert_equal(*both(model, smoothing=0.2))


def test_outside_the_head_gives_logits() -> None:
    model = model_of("gpt2")
    inputs, labels = asked(model)
    before = model(**inputs).logits
    with summed_loss(model, labels, 0.0):
        assert model(**inputs).logits.ndim == 0
    assert torch.equal(model(**inputs).logits, before)


def test_16_bits_are_as_near_as_those_of_the_logits() -> None:
    model = model_of("llama")
    exact, _ = both(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plainly, summed = both(model)
    assert summed[0] == pytest.approx(plainly[0], rel=1e-3)
    apart = [torch.linalg.norm(found - exact[1]) for found in (plainly[1], summed[1])]
    assert apart[1] <= 1.1 * apart[0]


def test_a_head_that_does_not_train_gets_no_gradient() -> None:
    model = model_of("t5", tie_word_embeddings=False)
    model.get_output_embeddings().weight.requires_grad_(False)
    assert_equal(*both(model))
    assert model.get_output_embeddings().weight.grad is None


def test_nothing_to_predict_is_no_loss() -> None:
    model = model_of("gpt2")
    inputs, labels = asked(model)
    with summed_loss(model, torch.full_like(labels, NO_TARGET), 0.0):
        loss = model(**inputs).logits
    assert loss.item() == 0
    assert not gradient(model, loss).any()


def test_models_that_do_more_with_their_logits_are_left_alone() -> None:
    assert not gives_loss(model_of("gemma3_text", final_logit_softcapping=30.0))
    assert not gives_loss(model_of("bart", d_model=16, encoder_layers=1, decoder_layers=1))
