"""Fused activations are the same functions."""

import torch
from torch import nn
from transformers.activations import NewGELUActivation

from pipeline.model.activations import fuse


def test_the_approximated_gelu_is_one_operation_with_the_same_values_and_gradients() -> None:
    model = nn.ModuleDict({"inner": nn.ModuleList([NewGELUActivation()]), "other": nn.SiLU()})
    values = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    before = model["inner"][0](values)
    (slope,) = torch.autograd.grad(before.sum(), values)

    fuse(model)
    after = model["inner"][0](values)
    torch.testing.assert_close(after, before)
    torch.testing.assert_close(torch.autograd.grad(after.sum(), values, retain_graph=True)[0], slope)
    assert after.grad_fn is not None and type(after.grad_fn).__name__ == "GeluBackward0"
    assert isinstance(model["other"], nn.SiLU)
