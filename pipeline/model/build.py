"""The model to train: its body with pretrained or fresh weights, and the task's head."""

from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import BitsAndBytesConfig, PreTrainedConfig, PreTrainedTokenizerBase

from pipeline import own
from pipeline.errors import UserError
from pipeline.model.activations import fuse
from pipeline.model.config import load_config
from pipeline.model.fit import adapt, check_fit
from pipeline.model.four_bits import quantization
from pipeline.model.origin import located
from pipeline.model.trained import choose
from pipeline.params import Hardware, Params
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    # Four seconds of imports, which only those that build a model shall wait for.
    from transformers import GenerationConfig, PreTrainedModel


def model_class(task: Task) -> Any:
    """The transformers class that gives a body the task's head: an Auto class, or the user's own.

    Raises:
        UserError: the user's own cannot be imported, or is none of transformers' models.
    """
    if task.model_class is None:
        return getattr(transformers, task.head()[0])
    found = own.member(task.model_class, "params.yaml: model.class")
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise UserError(f"params.yaml: model.class: {task.model_class} is no subclass of transformers.PreTrainedModel.")
    return found


def fresh(task: Task, config: PreTrainedConfig, **options: Any) -> "PreTrainedModel":
    """A model with weights that are drawn from torch's generator."""
    kind = model_class(task)
    # What an Auto class offers to everybody, each model class has under a name of its own.
    make = kind.from_config if task.model_class is None else kind._from_config
    model: PreTrainedModel = make(config, **options)
    return model


def build(
    params: Params, task: Task, encoder: PreTrainedTokenizerBase, *, quantized: bool = False
) -> "PreTrainedModel":
    """The model to train, with the task's head: pretrained weights where there are some, fresh ones elsewhere.

    Only what shall train requires gradients. Fresh weights and adapters are drawn from torch's generator: seed it
    first.

    Args:
        quantized: hold the pretrained weights in 4 bits, on this process's GPU, rather than whole and on the host.

    Raises:
        UserError: tokenizer and model do not fit, the weights are none of this model's, or `model.lora` or
            `model.freeze` names what it does not have.
    """
    config = _config(params, task, encoder)
    model: PreTrainedModel
    drawn: set[str] = set()
    if params.model.model_name_or_path is None:
        model = fresh(task, config)
    elif quantized:
        with torch.device("meta"):
            empty = fresh(task, config, dtype=torch.float32)
        model, drawn = from_weights(model_class(task), params, config, quantization_config=quantization(empty, params))
    else:
        model, drawn = from_weights(model_class(task), params, config)
    fuse(model)
    choose(model, params.model, drawn)
    return model


def skeleton(params: Params, task: Task, encoder: PreTrainedTokenizerBase) -> "PreTrainedModel":
    """The model of `build` on the meta device: all of its shapes and ties, and none of its numbers.

    Nothing is drawn from torch's generator. With adapters, what trains of the body because the files have no weights
    for it is not known here.

    Raises:
        UserError: tokenizer and model do not fit, or `model.lora` or `model.freeze` names what it does not have.
    """
    config = _config(params, task, encoder)
    with torch.device("meta"):
        model = fresh(task, config, dtype=torch.float32)
        fuse(model)
        choose(model, params.model)
    return model


def own_generation(params: Params) -> "GenerationConfig | None":
    """How a pretrained model's files say that it writes texts, such as with which token one starts; None if nothing."""
    if params.model.model_name_or_path is None:
        return None
    name = located(params.model.model_name_or_path, "model.model_name_or_path")
    try:
        return transformers.GenerationConfig.from_pretrained(name, revision=params.model.model_revision or "main")
    except OSError:  # there is no such file
        return None


def from_weights(
    kind: Any,
    params: Params,
    config: PreTrainedConfig,
    weights: dict[str, torch.Tensor] | None = None,
    quantization_config: BitsAndBytesConfig | None = None,
) -> tuple["PreTrainedModel", set[str]]:
    """A pretrained model, as transformers loads it, and the names of the parameters that it has to draw.

    Args:
        kind: its class, or an Auto class where the weights are those of the files.
        weights: what to take for the content of the model's files; None: what they hold.
        quantization_config: what becomes of the weights on loading.

    Raises:
        UserError: the weights are none of this model's.
    """
    assert params.model.model_name_or_path is not None, "only a pretrained model has weights"
    name = located(params.model.model_name_or_path, "model.model_name_or_path")
    source: dict[str, Any] = {"use_safetensors": True, "revision": params.model.model_revision}
    if quantization_config is not None:
        source["quantization_config"] = quantization_config
    model, loaded = kind.from_pretrained(
        name if weights is None else None,
        config=config,
        trust_remote_code=False,
        dtype="float32",
        # A head for other labels is drawn anew; _check_loaded looks after the rest.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **(source if weights is None else {"state_dict": weights}),
    )
    _check_loaded(model, loaded, name)
    return model, {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}


def _config(params: Params, task: Task, encoder: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The model's configuration, with the task's head and for this tokenizer."""
    config = load_config(params.model)
    for key, value in task.head()[1].items():
        setattr(config, key, value)
    adapt(config, encoder, pretrained=params.model.model_name_or_path is not None)
    check_fit(config, encoder, params.tokenizer.max_seq_length)
    return config


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
