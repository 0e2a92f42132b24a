"""Dropout that is drawn from numbers: the right share, the right scale, the same masks again."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, BertModel

from pipeline.training import dropout

CPU = torch.device("cpu")
P = 0.3


@pytest.fixture
def model() -> BertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=50, hidden_dropout_prob=P, attention_probs_dropout_prob=P, **sizes)
    return BertModel(config, add_pooling_layer=False).train()


def said(model: BertModel, *seed: int) -> torch.Tensor:
    with dropout.seeded(model, CPU, *seed):
        return model(input_ids=torch.arange(24).view(4, 6)).last_hidden_state


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_values_are_kept_and_scaled_or_zero(model: BertModel, dtype: torch.dtype) -> None:
    values = torch.ones(300, 401, dtype=dtype)
    with dropout.seeded(model, CPU, 1, 2, 3):
        found = functional.dropout(values, P, training=True)
    share, value = (found != 0).double().mean().item(), found.max()
    assert found.dtype == dtype and found.unique().tolist() == [0, value]
    assert value == torch.tensor(1 / (1 - P), dtype=dtype) or value.item() == pytest.approx(1 / (1 - P), rel=1e-4)
    assert share == pytest.approx(1 - P, abs=4 * (P * (1 - P) / values.numel()) ** 0.5)


def test_the_gradient_is_that_of_what_was_kept(model: BertModel) -> None:
    values = torch.randn(40, 41, requires_grad=True)
    with dropout.seeded(model, CPU, 1):
        found = functional.dropout(values, P)
    found.sum().backward()
    assert values.grad is not None
    assert torch.equal(found, values * values.grad)


def test_rows_and_neighbours_are_drawn_apart(model: BertModel) -> None:
    with dropout.seeded(model, CPU, 5):
        kept = (functional.dropout(torch.ones(400, 400), 0.5) != 0).double() * 2 - 1
    for shifted in (kept.roll(1, 0), kept.roll(1, 1), kept.roll(4, 1)):
        assert abs((kept * shifted).mean().item()) < 4 / 400


def test_the_same_numbers_draw_the_same_masks(model: BertModel) -> None:
    assert torch.equal(said(model, 1, 2, 3), said(model, 1, 2, 3))
    others = [said(model, 1, 2, 3), said(model, 1, 2, 4), said(model, 1, 3, 3), said(model, 2, 2, 3)]
    assert all(not torch.equal(others[0], other) for other in others[1:])


def test_where_nothing_is_dropped_it_is_the_model(model: BertModel) -> None:
    plain = copy.deepcopy(model).eval()
    ids = torch.arange(24).view(4, 6)
    with dropout.seeded(plain, CPU, 1):
        inside = plain(input_ids=ids).last_hidden_state
    assert torch.equal(inside, plain(input_ids=ids).last_hidden_state)


@pytest.mark.parametrize(("mask", "causal"), [(None, False), (None, True), ("bool", False), ("float", False)])
def test_attention_is_torchs_but_for_the_masks(
    model: BertModel, monkeypatch: pytest.MonkeyPatch, mask: str | None, causal: bool
) -> None:
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8, generator=draw) for heads in (4, 2, 2))
    allowed = torch.rand(2, 1, 5, 5, generator=draw) > 0.4
    allowed |= torch.eye(5, dtype=torch.bool)
    given = {"bool": allowed, "float": torch.randn(2, 4, 5, 5, generator=draw), None: None}[mask]
    options = {"attn_mask": given, "is_causal": causal, "enable_gqa": True, "scale": 0.2}
    expected = functional.scaled_dot_product_attention(query, key, value, **options)
    monkeypatch.setattr(dropout._Dropout, "_drop", lambda self, values, p: values)
    with dropout.seeded(model, CPU, 1):
        found = functional.scaled_dot_product_attention(query, key, value, dropout_p=P, **options)
    torch.testing.assert_close(found, expected)


def test_attention_drops_probabilities(model: BertModel) -> None:
    # Of one key the probability is 1: what comes out is its value, scaled, or nothing.
    states = torch.ones(1, 1, 1, 1).expand(500, 4, 1, 1)
    with dropout.seeded(model, CPU, 1):
        found = functional.scaled_dot_product_attention(states, states, states, dropout_p=P)
    assert (found == 0).double().mean().item() == pytest.approx(P, abs=0.05)
    assert found.max().item() == pytest.approx(1 / (1 - P), rel=1e-4)


def test_a_layer_that_is_computed_again_draws_the_same_masks(model: BertModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.activation_checkpointing_enable({"use_reentrant": False})
    with dropout.seeded(model, CPU, 1, 2):
        found = model(input_ids=torch.arange(24).view(4, 6)).last_hidden_state
    found.square().sum().backward()
    again = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    model.activation_checkpointing_disable()
    torch.manual_seed(0)
    monkeypatch.setattr(BertModel, "is_activation_checkpointing", True)  # torch's own generator, as above
    with dropout.seeded(model, CPU, 1, 2):
        whole = model(input_ids=torch.arange(24).view(4, 6)).last_hidden_state
    whole.square().sum().backward()
    assert torch.equal(found, whole)
    for one, parameter in zip(again, (p for p in model.parameters() if p.grad is not None), strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_all_modules_that_drop_out_get_it(model: BertModel) -> None:
    with dropout.seeded(model, CPU, 1):
        found = nn.Dropout(P)(torch.ones(1000))
    torch.manual_seed(0)
    with dropout.seeded(model, CPU, 1):
        assert torch.equal(nn.Dropout(P)(torch.ones(1000)), found)


def test_seeding_leaves_nothing_behind(model: BertModel) -> None:
    def queued() -> list[int]:
        return [len(getattr(torch, kind)._queued_calls) for kind in ("cuda", "xpu", "mtia")]

    before = queued()
    said(model, 1, 2, 3)
    assert queued() == before, "each step would leave calls for devices that are not in use"
