"""The model and its tokenizer: where they come from, whether they fit, and how a trained one is kept."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pipeline import digest, project
from pipeline.data import tokenizer
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Model, Params
from pipeline.tasks.base import Task

if TYPE_CHECKING:
    # Four seconds of imports, which only those that build a model shall wait for.
    from transformers import PreTrainedModel

_HIGH_FOR_PRETRAINED = 5e-4
_FEWEST_TOKENS = 3
_MAX_REASON = 200
# Models whose position ids start behind the padding id, so that fewer positions are left for tokens.
_OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "esm",
    "ibert",
    "lilt",
    "longformer",
    "luke",
    "markuplm",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}


def load_config(model: Model) -> PreTrainedConfig:
    """The configuration of the pretrained model, or of the one that `model.config` describes.

    Raises:
        UserError: the folder is no model, the hub does not have it, or a key or value of `model.config` is wrong.
    """
    if model.model_name_or_path is None:
        assert model.config is not None, "params are validated to have one of both"
        return _config_from_scratch(dict(model.config))
    name = _located(model.model_name_or_path, "model.model_name_or_path")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=model.model_revision, trust_remote_code=False
        )
    except Exception as error:  # what somebody else's files can raise has no end
        raise UserError(_no_model("model.model_name_or_path", model.model_name_or_path, error)) from error
    if Path(name).is_dir():
        _check_weights(Path(name))
    return config


def _check_weights(folder: Path) -> None:
    """Raise a UserError if a local model has no weights, or half a file or a git-lfs pointer in their place."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"model.model_name_or_path: {folder} has a config.json but no weights (*.safetensors).\n"
            "Copy the whole folder, or train from scratch with model.config."
        )
    for file in files:
        try:
            with safe_open(file, "pt"):
                pass
        except SafetensorError as error:
            broken = f"model.model_name_or_path: {file} is not whole: {error}."
            raise UserError(f"{broken}\nCopy it again; in a git clone, run: git lfs pull") from error


def _config_from_scratch(values: dict[str, Any]) -> PreTrainedConfig:
    kind = values.pop("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(
            f"params.yaml: model.config.model_type: transformers knows no '{kind}'.{did_you_mean(kind, CONFIG_MAPPING)}"
        )
    config_class = CONFIG_MAPPING[kind]
    try:
        known = {*config_class().to_dict(), *config_class.attribute_map} - {"transformers_version", "model_type"}
        for key in values:
            if key not in known:
                raise UserError(
                    f"params.yaml: model.config.{key} is no key of a {kind} configuration.{did_you_mean(key, known)}"
                )
        config: PreTrainedConfig = config_class(**values)
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise UserError(f"params.yaml: model.config does not make a {kind} model: {_reason(error)}") from error
    size, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    # Some models find this out only when they run. Those that name the size of a head need no such multiple.
    if isinstance(size, int) and heads and size % heads and not any(hasattr(config, n) for n in ("head_dim", "d_head")):
        raise UserError(f"params.yaml: model.config: hidden_size {size} is no multiple of num_attention_heads {heads}.")
    return config


def load_tokenizer(params: Params) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the params name, or the pretrained model's own; None if one is to be trained here."""
    own, model = params.tokenizer, params.model
    key, name, revision = "tokenizer.tokenizer_name", own.tokenizer_name, own.tokenizer_revision
    if name is None:
        key, name, revision = "model.model_name_or_path", model.model_name_or_path, model.model_revision
    if name is None:
        return None
    try:
        loaded = AutoTokenizer.from_pretrained(_located(name, key), revision=revision, trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:  # what somebody else's files can raise has no end
        raise UserError(_no_model(key, name, error, "tokenizer")) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise UserError(f"{key}: {name} has no fast tokenizer (tokenizer.json). Choose one that has.")
    # transformers makes an empty tokenizer where the files of one are missing.
    if len(loaded) - len(set(loaded.all_special_ids)) < _FEWEST_TOKENS:
        raise UserError(f"{key}: {name} has no tokenizer (tokenizer.json). Copy it there, or set tokenizer_name.")
    if loaded.pad_token_id is None and loaded.eos_token_id is not None:
        loaded.pad_token = loaded.eos_token  # as GPT-2's users do: padding is masked, whatever its token
    loaded.model_max_length = own.max_seq_length
    return loaded


def make_tokenizer(params: Params, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """The tokenizer of `load_tokenizer`, or one trained on the texts; it makes only inputs that the model takes."""
    made = load_tokenizer(params) or tokenizer.train(texts, params.tokenizer)
    config = load_config(params.model)
    if (getattr(config, "type_vocab_size", 0) or 0) < 2:
        made.model_input_names = [name for name in made.model_input_names if name != "token_type_ids"]
        made.init_kwargs["model_input_names"] = made.model_input_names  # else it is not saved
    if params.model.model_name_or_path is not None:
        check_fit(config, made, params.tokenizer.max_seq_length)
    return made


def _located(name: str, key: str) -> str:
    """The folder or the hub name; what looks like a folder but is none is an error, not a question to the hub."""
    folder = Path(name).expanduser()
    for output in (project.BEST_MODEL, project.TOKENIZED):
        if folder.resolve().is_relative_to(output.resolve()):
            raise UserError(
                f"{key}: {name} is an output, which DVC deletes before it is made again.\n"
                f"Copy it first: cp -r {name} data/models/NAME, and name the copy."
            )
    if folder.is_dir():
        return str(folder)
    if folder.is_absolute() or name.startswith((".", "~", "data/")) or name.count("/") > 1:
        near = did_you_mean(folder.name, (path.name for path in folder.parent.glob("*") if path.is_dir()))
        copy = ""
        if not folder.is_absolute() and (project.home() / folder).is_dir():
            copy = f"\nThis is a temporary copy, without git-ignored files: dvc add {name}, and commit {name}.dvc."
        raise UserError(f"{key}: there is no folder {name}.{near}{copy}")
    return name


def _no_model(key: str, name: str, error: Exception, what: str = "model") -> str:
    if Path(name).expanduser().is_dir():
        needed = {"model": "config.json and model.safetensors", "tokenizer": "tokenizer.json"}[what]
        return f"{key}: the folder {name} is no {what} that transformers can load; it needs {needed}.\n{_reason(error)}"
    return f"{key}: neither a folder nor a {what} of the hub (or there is no network): {name}\n{_reason(error)}"


def _reason(error: Exception) -> str:
    """What transformers says, in one line that is not too long."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        text = f"there is no {text}"
    if isinstance(error, StrictDataclassError):
        text = text.split("Error: ")[-1]
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."


def check_fit(config: PreTrainedConfig, encoder: PreTrainedTokenizerBase, max_seq_length: int) -> None:
    """Raise a UserError unless the model can take every token id and position that the tokenizer will give it."""
    size = getattr(config, "vocab_size", None)
    if size is not None and len(encoder) > size:
        raise UserError(
            f"The tokenizer and the model do not fit: the tokenizer has {len(encoder):,} tokens, the model's "
            f"vocabulary {size:,}.\nLeave tokenizer.tokenizer_name null to take the model's own tokenizer."
        )
    if encoder.pad_token_id is None:
        raise UserError("The tokenizer has no padding token. Choose one that has (tokenizer.tokenizer_name).")
    check_length(config, max_seq_length)


def check_length(config: PreTrainedConfig, max_seq_length: int) -> None:
    """Raise a UserError if max_seq_length is over the model's positions."""
    limit = positions(config)
    if limit is not None and max_seq_length > limit:
        raise UserError(
            f"params.yaml: tokenizer.max_seq_length is {max_seq_length}, but the {config.model_type} model has "
            f"{limit} positions. Set it to {limit} or less."
        )


def positions(config: PreTrainedConfig) -> int | None:
    """The most tokens that the model takes; None if there is no limit."""
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit is not None and config.model_type in _OFFSET_POSITIONS:
        limit -= (config.pad_token_id or 0) + 1
    return limit


def check(params: Params, task: type[Task]) -> list[str]:
    """Look at model, tokenizer and lengths before anything is computed.

    Returns:
        Warnings, a sentence each.

    Raises:
        UserError: something of it is missing or does not fit.
    """
    config = load_config(params.model)
    encoder = load_tokenizer(params)
    if encoder is not None:
        if params.model.model_name_or_path is None:
            config.vocab_size = len(encoder)
        check_fit(config, encoder, params.tokenizer.max_seq_length)
    else:
        check_length(config, params.tokenizer.max_seq_length)
    _build_empty(config, task)
    warnings = []
    if params.model.model_name_or_path is not None and params.train.learning_rate > _HIGH_FOR_PRETRAINED:
        warnings.append(
            f"train.learning_rate {params.train.learning_rate:g} is high for a pretrained model and may wipe out "
            "what it knows; 2e-5 to 5e-5 is usual."
        )
    for key, name, revision in _named(params):
        if name is not None and revision is None and not Path(name).expanduser().is_dir():
            warnings.append(f"{key} is a hub name without a revision: what it stands for can change any day.")
    return warnings


def _build_empty(config: PreTrainedConfig, task: type[Task]) -> None:
    """Build the model without memory: what its configuration makes impossible shows here."""
    auto = _auto_class(task(("a", "b")))
    try:
        with torch.device("meta"):
            auto.from_config(config)
    except Exception as error:  # the user's values reach into every line of the model's code
        reason = _reason(error)
        if reason.startswith("Unrecognized configuration class"):
            reason = f"transformers has no {auto.__name__} of it"
        raise UserError(f"params.yaml: this {config.model_type} model cannot be built: {reason}") from error


def build(params: Params, task: Task, encoder: PreTrainedTokenizerBase) -> "PreTrainedModel":
    """The model to train, with the task's head: pretrained weights where there are some, fresh ones elsewhere.

    Fresh weights are drawn from torch's generator: seed it first.
    """
    auto, (_, head) = _auto_class(task), task.head()
    config = load_config(params.model)
    for key, value in head.items():
        setattr(config, key, value)
    if params.model.model_name_or_path is None:
        config.vocab_size = len(encoder)
        for name in ("pad", "unk", "bos", "eos", "cls", "sep", "mask"):
            if hasattr(config, f"{name}_token_id"):
                setattr(config, f"{name}_token_id", getattr(encoder, f"{name}_token_id"))
    elif config.pad_token_id is None:
        config.pad_token_id = encoder.pad_token_id
    check_fit(config, encoder, params.tokenizer.max_seq_length)
    if params.model.model_name_or_path is None:
        made: PreTrainedModel = auto.from_config(config)
        return made
    name = _located(params.model.model_name_or_path, "model.model_name_or_path")
    model: PreTrainedModel
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


def model_digest(params: Params) -> dict[str, str]:
    """What the weights and the tokenizer are, by content: digests of local folders, the commits of hub models."""
    found = {}
    for key, name, revision in _named(params):
        if name is not None:
            folder = Path(name).expanduser()
            found[key] = digest.of_folder(folder) if folder.is_dir() else f"{name}@{revision}"
    return found


def _auto_class(task: Task) -> Any:
    return getattr(transformers, task.head()[0])


def _named(params: Params) -> tuple[tuple[str, str | None, str | None], ...]:
    return (
        ("model.model_name_or_path", params.model.model_name_or_path, params.model.model_revision),
        ("tokenizer.tokenizer_name", params.tokenizer.tokenizer_name, params.tokenizer.tokenizer_revision),
    )


def export(model: "PreTrainedModel", encoder: PreTrainedTokenizerBase, params: Params, folder: Path) -> None:
    """Write a plain Hugging Face model folder, whole or not at all, with a card that names the task."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    encoder.save_pretrained(unfinished)
    card = {
        "task": params.task,
        "text_columns": len(params.data.text_column_names),
        "max_seq_length": params.tokenizer.max_seq_length,
    }
    (unfinished / project.MODEL_CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def load(folder: Path, task: Task) -> "PreTrainedModel":
    """The exported model with its head, for evaluation."""
    model: PreTrainedModel = _auto_class(task).from_pretrained(folder)
    return model
