"""Low-rank adapters (Hu et al., 2021, https://arxiv.org/abs/2106.09685): put into a model, merged, and kept apart.

peft makes them in place, so a model with adapters is still of its transformers class, and whoever computes with it
needs to know nothing of them. They hold their own weights under names such as `....query.lora_A.default.weight`.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from pipeline import json_file
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Lora, Model

if TYPE_CHECKING:
    # Seconds of imports, and what they bring, for those alone that use adapters.
    from peft import LoraConfig
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"
_NAME = "default"
_TASK_TYPES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
}
_ADAPTABLE = (nn.Linear, Conv1D, nn.Embedding, nn.Conv1d, nn.Conv2d)


def adapt(model: "PreTrainedModel", lora: Lora, drawn: Collection[str] = ()) -> None:
    """Put adapters into a model, in place; they, the head and what is drawn anew are all that trains from then on.

    An adapter starts as no change. Its other matrix is drawn from torch's generator: seed it first.

    Args:
        drawn: the parameters that no pretrained weights are there for.

    Raises:
        UserError: the model has no such layer, it cannot be adapted, or its weights are also those of another one.
    """
    from peft import inject_adapter_in_model

    saved = _saved(model, lora, drawn)
    config = _config(model, lora, saved)
    inject_adapter_in_model(config, model, adapter_name=_NAME)
    model.peft_config = {_NAME: config}  # type: ignore[dict-item]


def is_adapted(model: "PreTrainedModel") -> bool:
    """Whether `adapt` was called on it."""
    return bool(getattr(model, "peft_config", None))


def save_adapter(model: "PreTrainedModel", settings: Model, folder: Path) -> None:
    """Write the adapters and what trained beside them in peft's own format.

    peft writes sets in the order of this process, and the base by the path that it was read from: neither is done here,
    so that the same adapters give the same bytes in every process and in every folder.
    """
    from peft import get_peft_model_state_dict

    config: Any = model.peft_config[_NAME]
    name = settings.model_name_or_path
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    values["base_model_name_or_path"] = None if name is None or _is_elsewhere(name) else name
    values["revision"] = settings.model_revision
    values["inference_mode"] = True
    folder.mkdir(parents=True)
    json_file.write(folder / "adapter_config.json", values)
    tensors = get_peft_model_state_dict(model, adapter_name=_NAME, save_embedding_layers=False)
    # The prefix of peft's own wrapper, by which it finds them when it loads them.
    named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in sorted(tensors.items())}
    save_file(named, folder / "adapter_model.safetensors", {"format": "pt"})


@torch.no_grad()
def merge(model: "PreTrainedModel") -> None:
    """Add the adapters to the weights that they adapt, in place: the model is a plain one of its class again."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            model.set_submodule(name, module.get_base_layer())
        elif isinstance(module, ModulesToSaveWrapper):
            model.set_submodule(name, module.modules_to_save[_NAME])
    del model.peft_config


def head_modules(model: "PreTrainedModel") -> list[str]:
    """The parts outside the body that have weights; none where they give words, for such a head is pretrained, too."""
    if model.get_output_embeddings() is not None or model.base_model is model:
        return []
    children = model.named_children()
    return [name for name, child in children if child is not model.base_model and any(True for _ in child.parameters())]


def _saved(model: "PreTrainedModel", lora: Lora, drawn: Collection[str]) -> list[str]:
    """The modules that train whole: the head, what is drawn anew, and what the user names; the outermost of them."""
    named = dict(model.named_modules())
    for name in lora.modules_to_save or ():
        found = [module for module in named if _ends_with(module, name)]
        if not found:
            raise _unknown("model.lora.modules_to_save", name, named)
        for module in found:
            _check_own(model, "model.lora.modules_to_save", module)
    fresh = {name.rpartition(".")[0] for name in drawn} - {""}
    # The bias of a head whose matrix is the embeddings' lies in the module of both, and is zero: it stays so.
    wanted = {*head_modules(model), *(name for name in fresh if not _shared(model, name))}
    outermost = {name for name in wanted if not any(name.startswith(f"{other}.") for other in wanted)}
    return sorted({*outermost, *(lora.modules_to_save or ())})


def _config(model: "PreTrainedModel", lora: Lora, saved: list[str]) -> "LoraConfig":
    from peft import LoraConfig, TaskType
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

    targets: Any = lora.target_modules or USUAL.get(model.config.model_type, [ALL_LINEAR])
    if isinstance(targets, str):  # an expression for some kinds of model, which is peft's own
        adapted = []
    elif targets == [ALL_LINEAR]:
        # By their full names: peft leaves out only those heads whose names it knows.
        adapted = [name for name, _ in _linear(model) if not any(_lies_in(name, kept) for kept in saved)]
        targets = adapted
    else:
        adapted = list(_targeted(model, targets))
    kind = next((task for end, task in _TASK_TYPES.items() if type(model).__name__.endswith(end)), None)
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=targets,
        bias=lora.bias,
        modules_to_save=saved or None,
        task_type=kind and TaskType[kind],
        # How GPT-2's layers lie in memory; peft warns where it has to find that out.
        fan_in_fan_out=any(isinstance(model.get_submodule(name), Conv1D) for name in adapted),
    )


def _targeted(model: "PreTrainedModel", targets: Collection[str]) -> Iterator[str]:
    """The modules whose names end with one of these."""
    named = dict(model.named_modules())
    for target in targets:
        found = [name for name in named if _ends_with(name, target)]
        if not found:
            raise _unknown("model.lora.target_modules", target, (name for name, _ in _linear(model)))
        for name in found:
            if not isinstance(named[name], _ADAPTABLE):
                kind = type(named[name]).__name__
                raise UserError(
                    f"params.yaml: model.lora.target_modules: {name} is a {kind}, which has no adapters.\n"
                    f"Name linear layers, or {ALL_LINEAR}."
                )
            _check_own(model, "model.lora.target_modules", name)
        yield from found


def _linear(model: "PreTrainedModel") -> Iterator[tuple[str, nn.Module]]:
    """The linear layers, but for one that gives words."""
    words = model.get_output_embeddings()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not words:
            yield name, module


def _shared(model: "PreTrainedModel", module: str) -> list[str]:
    """The parameters below a module that are also found elsewhere."""
    own = dict(model.get_submodule(module).named_parameters(remove_duplicate=False))
    places: dict[int, int] = {}
    for parameter in own.values():
        places[id(parameter)] = places.get(id(parameter), 0) - 1
    for _, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in places:
            places[id(parameter)] += 1
    return [f"{module}.{name}" for name, parameter in own.items() if places[id(parameter)]]


def _check_own(model: "PreTrainedModel", key: str, module: str) -> None:
    """Raise a UserError if a module's weights are also those of another, which would change or not change with it."""
    if shared := _shared(model, module):
        raise UserError(
            f"params.yaml: {key}: {shared[0]} is also the weight of another layer (tied), and an adapted model cannot "
            f"be merged then.\nLeave {module} out."
        )


def _unknown(key: str, name: str, known: Collection[str] | Iterator[str]) -> UserError:
    """That no module has this name, and which has one like it."""
    ends = sorted({end for module in known if module for end in (module, module.rpartition(".")[2])})
    near = did_you_mean(name, [end for end in ends if not end.isdigit()])
    short = ", ".join([end for end in ends if "." not in end and not end.isdigit()][:12])
    return UserError(f"params.yaml: {key}: no layer of the model is called '{name}'.{near}\nThere are {short}.")


def _ends_with(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _lies_in(module: str, name: str) -> bool:
    """Whether a module is, or lies in, one whose name ends so."""
    return f".{name}." in f".{module}."


def _is_elsewhere(name: str) -> bool:
    return Path(name).expanduser().is_absolute()
