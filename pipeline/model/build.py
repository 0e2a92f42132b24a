"""The model to train: its body with pretrained or fresh weights, and the task's head."""

from typing import TYPE_CHECKING, Any

import transformers
from transformers import PreTrainedTokenizerBase

from pipeline.errors import UserError
from pipeline.model.config import load_config
from pipeline.model.fit import adapt, check_fit
from pipeline.model.origin import located
from pipeline.params import Hardware, Params
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    # Four seconds of imports, which only those that build a model shall wait for.
    from transformers import PreTrainedModel


def auto_class(task: Task) -> Any:
    """The transformers class that gives a body the task's head."""
    return getattr(transformers, task.head()[0])


def build(params: Params, task: Task, encoder: PreTrainedTokenizerBase) -> "PreTrainedModel":
    """The model to train, with the task's head: pretrained weights where there are some, fresh ones elsewhere.

    Fresh weights are drawn from torch's generator: seed it first.

    Raises:
        UserError: tokenizer and model do not fit, or the weights are none of this model's.
    """
    auto, (_, head) = auto_class(task), task.head()
    config = load_config(params.model)
    for key, value in head.items():
        setattr(config, key, value)
    adapt(config, encoder, pretrained=params.model.model_name_or_path is not None)
    check_fit(config, encoder, params.tokenizer.max_seq_length)
    model: PreTrainedModel
    if params.model.model_name_or_path is None:
        model = auto.from_config(config)
        return model
    name = located(params.model.model_name_or_path, "model.model_name_or_path")
    model, loaded = auto.from_pretrained(
        name,
        config=config,
        revision=params.model.model_revision,
        trust_remote_code=False,
        dtype="float32",
        use_safetensors=True,
        # A head for other labels is drawn anew; _check_loaded looks after the rest.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    _check_loaded(model, loaded, name)
    return model


def check_recomputing(model: "PreTrainedModel", hardware: Hardware) -> None:
    """Raise a UserError if the model shall compute activations anew in the backward pass and cannot."""
    if hardware.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise UserError(
            f"hardware.gradient_checkpointing: a {model.config.model_type} model cannot do it. Set it to false."
        )


def _check_loaded(model: "PreTrainedModel", loaded: dict[str, Any], name: str) -> None:
    """Raise a UserError if the weights are none of this model's, which transformers would draw anew in silence."""
    body = f"{model.base_model_prefix}."
    wrong = sorted(key for key, *_ in loaded["mismatched_keys"] if key.startswith(body))
    # Checkpoints without a pooler are common: it is part of a head, in all but its name.
    wrong = wrong or sorted(key for key in loaded["missing_keys"] if key.startswith(body) and ".pooler." not in key)
    if wrong:
        raise UserError(
            f"model.model_name_or_path: the weights of {name} do not fit its config.json: {wrong[0]} is missing or of "
            "another size.\nTake both files from the same model."
        )
