"""The trained model as a plain Hugging Face folder, and back."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import PreTrainedTokenizerBase

from pipeline import json_file, project
from pipeline.model.activations import fuse
from pipeline.model.build import model_class, own_generation
from pipeline.model.lora import is_adapted, merge, save_adapter
from pipeline.params import Params
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ADAPTER = "adapter"


def export(
    model: "PreTrainedModel", encoder: PreTrainedTokenizerBase, task: Task, params: Params, folder: Path
) -> None:
    """Write a plain Hugging Face model folder, whole or not at all, with a card that names the task.

    Adapters are merged into the model, in place, and kept in the sub-folder `adapter` in peft's format.
    """
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    if is_adapted(model):
        save_adapter(model, params.model, unfinished / ADAPTER)
        merge(model)
    if task.generates != "none" and (own := own_generation(params)) is not None:
        model.generation_config = own
    if model.can_generate():
        # Of no use in training; whoever generates with the model wants it.
        model.config.use_cache = model.generation_config.use_cache = True
    model.save_pretrained(unfinished)
    # safetensors lets nobody but the owner read its files; those beside them are as the user wants files to be.
    for weights in unfinished.rglob("*.safetensors"):
        weights.chmod((unfinished / "config.json").stat().st_mode)
    encoder.save_pretrained(unfinished)
    card = {"task": params.task, "state": task.state(), "tokenizer": params.tokenizer.model_dump(mode="json")}
    json_file.write(unfinished / project.MODEL_CARD, card)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def load(folder: Path, task: Task) -> "PreTrainedModel":
    """The exported model with its head, for evaluation."""
    model: PreTrainedModel = model_class(task).from_pretrained(folder)
    fuse(model)
    return model
