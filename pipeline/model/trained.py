"""Which parameters of a model train: all, all but frozen ones, or adapters alone."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from pipeline.errors import UserError, did_you_mean
from pipeline.model.lora import adapt
from pipeline.params import Model

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose(model: "PreTrainedModel", settings: Model, drawn: Collection[str] = ()) -> None:
    """Let only those parameters require gradients that shall train, and add adapters if the settings say so.

    Args:
        drawn: the parameters that no pretrained weights are there for.

    Raises:
        UserError: a name in `model.lora` or `model.freeze` is none of the model's, or nothing is left to train.
    """
    if settings.lora is not None:
        adapt(model, settings.lora, drawn)
    for name in settings.freeze or ():
        _freeze(model, name)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("params.yaml: model.freeze: nothing is left to train. Freeze fewer parts.")


def count(model: "PreTrainedModel") -> tuple[int, int]:
    """How many parameters train, and how many there are with them; two weights of 4 bits lie in each byte."""
    sizes = [(p.numel() * (2 if p.dtype == torch.uint8 else 1), p.requires_grad) for p in model.parameters()]
    return sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)


def _freeze(model: "PreTrainedModel", name: str) -> None:
    """Freeze a part by its name, in the model or in its body."""
    body = f"{model.base_model_prefix}."
    # A tied weight is one parameter with two names, and frozen with either.
    below = [
        parameter
        for full, parameter in model.named_parameters(remove_duplicate=False)
        if f"{full}.".startswith((f"{name}.", f"{body}{name}."))
    ]
    if not below:
        holding = [part for part, module in model.named_modules() if part and any(True for _ in module.parameters())]
        parts = [part.removeprefix(body) for part in holding]
        tops = [part for part in parts if "." not in part and part != model.base_model_prefix]
        raise UserError(
            f"params.yaml: model.freeze: no part of the model is called '{name}'.{did_you_mean(name, parts)}\n"
            f"There are {', '.join(tops)}, and what lies in them, as in encoder.layer.0."
        )
    for parameter in below:
        parameter.requires_grad_(False)
