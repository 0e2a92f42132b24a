"""What can be known of model and tokenizer before anything is computed."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedConfig

from pipeline import project
from pipeline.data.packing import SEPARATING
from pipeline.errors import UserError
from pipeline.model.build import check_recomputing, fresh, model_class
from pipeline.model.config import load_config, positions
from pipeline.model.fit import READING_PADDING, adapt, check_fit, check_head, check_length, check_start
from pipeline.model.four_bits import check_four_bits
from pipeline.model.origin import named, reason, unwatched
from pipeline.model.tokenizer import load_tokenizer
from pipeline.model.trained import choose
from pipeline.params import Params
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_HIGH_FOR_PRETRAINED = 5e-4
_TIMES_USUAL = 10  # of a task that has a usual rate: what is high


def check(params: Params, task: type[Task]) -> list[str]:
    """Look at model, tokenizer and lengths before anything is computed.

    Returns:
        Warnings, a sentence each.

    Raises:
        UserError: something of it is missing or does not fit.
    """
    config = load_config(params.model)
    encoder = load_tokenizer(params, chat=task.takes_turns)
    if encoder is not None:
        adapt(config, encoder, pretrained=params.model.model_name_or_path is not None)
        check_fit(config, encoder, params.tokenizer.max_seq_length)
    else:
        check_length(config, params.tokenizer.max_seq_length)
    if config.is_encoder_decoder:
        check_length(config, params.tokenizer.max_target_length, "max_target_length")
    limit = positions(config)
    if task.generates != "none" and limit is not None and params.evaluate.max_new_tokens >= limit:
        raise UserError(
            f"params.yaml: evaluate.max_new_tokens is {params.evaluate.max_new_tokens:,}, but the {config.model_type} "
            f"model has {limit:,} positions for a text and what comes before it. Lower it."
        )
    made = task(labels=("a", "b"), model_class=params.model.class_)
    empty = _build_empty(config, made)
    if params.model.model_name_or_path is not None:  # one from scratch has it from its tokenizer
        check_start(config, made.head()[0])
    check_recomputing(empty, params.hardware)
    choose(empty, params.model)
    check_four_bits(params)
    found = _warnings(params, task)
    if config.model_type in READING_PADDING:
        found.append(
            f"model: a {config.model_type} model takes padding for tokens, so that what it says of a text hangs on "
            "those beside it, and the gradient of a step on how it is cut. bert and modernbert do not."
        )
    if task.is_packed and config.model_type not in SEPARATING:
        found.append(
            f"model: transformers cannot keep packed texts apart in a {config.model_type} model, so each is an example "
            "of its own: train.global_batch_size counts texts, or windows of them, instead of full blocks."
        )
    return found


def _build_empty(config: PreTrainedConfig, task: Task) -> "PreTrainedModel":
    """Build the model without memory: what its configuration makes impossible shows here."""
    kind = model_class(task)
    if task.model_class is None:
        check_head(config, kind.__name__)
    elif not isinstance(config, kind.config_class):
        raise UserError(
            f"params.yaml: model.class: {task.model_class} is made from a {kind.config_class.__name__}, and this model "
            f"has a {type(config).__name__}."
        )
    try:
        with torch.device("meta"):
            model = fresh(task, config)
    except Exception as error:  # the user's values reach into every line of the model's code
        raise UserError(f"params.yaml: this {config.model_type} model cannot be built: {reason(error)}") from error
    return model


def _warnings(params: Params, task: type[Task]) -> list[str]:
    """What works and is probably not meant."""
    found = []
    usual = task.fine_tuning_rate
    high = _HIGH_FOR_PRETRAINED if usual is None else _TIMES_USUAL * usual
    model, tokenizer = params.model.model_name_or_path, params.tokenizer.tokenizer_name
    if model is not None and params.model.lora is None and params.train.learning_rate > high:
        instead = (
            "2e-5 to 5e-5 is usual, 2e-4 for a small one" if usual is None else f"{usual:g} is usual for this task"
        )
        found.append(
            f"train.learning_rate {params.train.learning_rate:g} is high for a pretrained model and may wipe out "
            f"what it knows; {instead}."
        )
    if model is not None and tokenizer not in (None, model):
        found.append(
            f"tokenizer.tokenizer_name {tokenizer} replaces the tokenizer that {model} has learned with; what it knows "
            "is lost unless both give the same ids. null takes the model's own."
        )
    for key, name, revision in named(params):
        if name is not None and unwatched(name):
            found.append(
                f"{key}: DVC watches {project.MODELS}/ only, so that nothing runs again when {name} changes. Copy it "
                f"there: cp -r {shlex.quote(name)} {project.MODELS}/, and name the copy."
            )
        if name is not None and revision is None and not Path(name).expanduser().is_dir():
            found.append(f"{key} is a hub name without a revision: what it stands for can change any day.")
    return found
