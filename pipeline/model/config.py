"""The configuration of the model, and how long a text it takes."""

from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from pipeline.errors import UserError, did_you_mean
from pipeline.model.origin import located, reason, refusal
from pipeline.params import Model

# What a model from scratch gets from its tokenizer and its task.
SPECIAL_TOKENS = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
_GIVEN = {
    **dict.fromkeys(("vocab_size", *(f"{name}_token_id" for name in SPECIAL_TOKENS)), "the tokenizer"),
    **dict.fromkeys(("num_labels", "id2label", "label2id", "problem_type"), "the task"),
}
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
        return _from_scratch(dict(model.config))
    name = located(model.model_name_or_path, "model.model_name_or_path")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=model.model_revision, trust_remote_code=False
        )
    except Exception as error:  # what somebody else's files can raise has no end
        raise UserError(refusal("model.model_name_or_path", model.model_name_or_path, error, "model")) from error
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


def _from_scratch(values: dict[str, Any]) -> PreTrainedConfig:
    kind = values.pop("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(
            f"params.yaml: model.config.model_type: transformers knows no '{kind}'.{did_you_mean(kind, CONFIG_MAPPING)}"
        )
    config_class = CONFIG_MAPPING[kind]
    try:
        known = {*config_class().to_dict(), *config_class.attribute_map} - {"transformers_version", "model_type"}
        for key in values:
            if key in _GIVEN:
                raise UserError(f"params.yaml: model.config.{key} comes from {_GIVEN[key]}. Remove the line.")
            if key not in known:
                raise UserError(
                    f"params.yaml: model.config.{key} is no key of a {kind} configuration.{did_you_mean(key, known)}"
                )
        config: PreTrainedConfig = config_class(**values)
    except (StrictDataclassError, ValueError, TypeError) as error:
        raise UserError(f"params.yaml: model.config does not make a {kind} model: {reason(error)}") from error
    size, heads = (getattr(config, name, None) for name in ("hidden_size", "num_attention_heads"))
    # Some models find these two out only when they run. Those that name the size of a head need no such multiple.
    own_size = any(hasattr(config, name) for name in ("head_dim", "d_head", "attention_head_size"))
    if isinstance(size, int) and heads and size % heads and not own_size:
        raise UserError(f"params.yaml: model.config: hidden_size {size} is no multiple of num_attention_heads {heads}.")
    groups = getattr(config, "num_key_value_heads", None)
    if heads and groups and heads % groups:
        raise UserError(
            f"params.yaml: model.config: num_attention_heads {heads} is no multiple of num_key_value_heads {groups}."
        )
    return config


def is_decoder(config: PreTrainedConfig) -> bool:
    """Whether each token sees those before it alone, as in GPT-2; BERT is one where its configuration says so."""
    if config.is_encoder_decoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return False
    told = getattr(config, "is_decoder", False) or getattr(config, "causal", False)  # the latter in XLM
    return bool(told) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES


def positions(config: PreTrainedConfig) -> int | None:
    """The most tokens that the model takes; None if there is no limit."""
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit is None or limit < 1:  # -1 in XLNet
        return None
    if config.model_type in _OFFSET_POSITIONS:
        limit -= (config.pad_token_id or 0) + 1
    return limit
