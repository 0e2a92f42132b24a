"""Activations of transformers that torch has in one operation, for less time and a fraction of the memory."""

from torch import nn
from transformers.activations import GELUTanh, NewGELUActivation


def fuse(model: nn.Module) -> None:
    """Put torch's own GELU, approximated by a tanh, in place of the eight operations of `gelu_new`.

    Their results differ by rounding alone, and each of the eight would keep what it made for the backward.
    """
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is NewGELUActivation:
                setattr(module, name, GELUTanh())
