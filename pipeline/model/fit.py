"""Whether model, tokenizer and head fit: token ids, special tokens, positions, and what the head is for."""

import transformers
from transformers import PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pipeline.errors import UserError
from pipeline.model.config import SPECIAL_TOKENS, is_decoder, positions

# Named where a model lacks the head: one of each kind that has it.
_FAMILIAR = ("bert", "roberta", "modernbert", "gpt2", "llama", "t5", "bart")
# What a head may make of a text without a look at where it ends (transformers' `summary_type`).
_OF_PADDING = ("last", "mean")
READING_PADDING = frozenset(("canine", "convbert", "fnet", "nystromformer", "yoso"))
"""Models that mix padding into the states of a text, whatever its mask says; a test looks at some of them."""
_OF_TEXTS = ("AutoModelForSequenceClassification", "AutoModelForMultipleChoice")


def adapt(config: PreTrainedConfig, encoder: PreTrainedTokenizerBase, *, pretrained: bool) -> None:
    """Give the configuration what it has from its tokenizer; a pretrained model's own values stay.

    The padding id of a decoder is not its own: it shows the heads where a text ends, and is that of the tokenizer.
    """
    if pretrained:
        if config.pad_token_id is None or is_decoder(config):
            config.pad_token_id = encoder.pad_token_id
        return
    config.vocab_size = len(encoder)
    for name in SPECIAL_TOKENS:
        if hasattr(config, f"{name}_token_id"):
            setattr(config, f"{name}_token_id", getattr(encoder, f"{name}_token_id"))
    if config.is_encoder_decoder:
        start = encoder.bos_token_id
        config.decoder_start_token_id = encoder.pad_token_id if start is None else start
        if getattr(config, "forced_eos_token_id", None) is not None:  # ends what was cut off at its longest, in BART
            config.forced_eos_token_id = encoder.eos_token_id


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
    if config.is_encoder_decoder and config.eos_token_id not in encoder("a")["input_ids"]:
        raise UserError(
            f"The tokenizer puts no end token behind a text, and a {config.model_type} model looks for one.\n"
            "Choose one that does (tokenizer.tokenizer_name)."
        )
    check_length(config, max_seq_length)


def check_length(config: PreTrainedConfig, length: int, key: str = "max_seq_length") -> None:
    """Raise a UserError if a length is over the model's positions.

    Args:
        key: the key of `tokenizer` that says the length.
    """
    limit = positions(config)
    if limit is not None and length > limit:
        raise UserError(
            f"params.yaml: tokenizer.{key} is {length}, but the {config.model_type} model has {limit} positions. "
            f"Set it to {limit} or less."
        )


def check_start(config: PreTrainedConfig, head: str) -> None:
    """Raise a UserError unless a pretrained decoder that is trained behind its encoder says what a text starts with.

    Args:
        head: the name of an Auto class.
    """
    if head == "AutoModelForSeq2SeqLM" and config.decoder_start_token_id is None:
        raise UserError(
            f"params.yaml: model: this {config.model_type} model does not say what a text starts with.\nSet "
            "decoder_start_token_id in its config.json, for a model of many languages to the one that it writes."
        )


def check_head(config: PreTrainedConfig, head: str) -> None:
    """Raise a UserError unless transformers has the head for this model, and it can learn what the head is for.

    Args:
        head: the name of an Auto class.
    """
    kind = config.model_type
    known = getattr(transformers, head)._model_mapping
    if type(config) not in known:
        others = [other for other in _FAMILIAR if CONFIG_MAPPING[other] in known]
        raise UserError(
            f"params.yaml: model: transformers has no {head} for {kind}, which this task needs.\n"
            f"Take a model that has one: {', '.join(others)}, ..."
        )
    if head == "AutoModelForCausalLM" and not (config.is_encoder_decoder or is_decoder(config)):
        raise UserError(
            f"params.yaml: model: in a {kind} model each token sees those behind it, which {head} shall predict.\n"
            "Take a decoder (gpt2, llama, qwen3, ...), or from scratch set is_decoder: true in model.config."
        )
    if head in _OF_TEXTS and getattr(config, "summary_type", None) in _OF_PADDING:
        raise UserError(
            f"params.yaml: model: this {kind} model judges a text by summary_type: {config.summary_type}. It takes "
            "padding for tokens, so that what it says of a text hangs on those beside it.\n"
            "Set summary_type to first, in model.config or the model's config.json, or take another model."
        )
    if head == "AutoModel" and config.is_encoder_decoder:
        raise UserError(
            f"params.yaml: model: {kind} has an encoder and a decoder, and this task wants the states of one.\n"
            "Take a model that has one: bert, modernbert, gpt2, llama, ..."
        )
