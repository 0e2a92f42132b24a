"""Whether a model and a tokenizer fit: token ids, special tokens and positions."""

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from pipeline.errors import UserError
from pipeline.model.config import SPECIAL_TOKENS, positions


def adapt(config: PreTrainedConfig, encoder: PreTrainedTokenizerBase, *, pretrained: bool) -> None:
    """Give the configuration what it has from its tokenizer; a pretrained model's own values stay."""
    if pretrained:
        if config.pad_token_id is None:
            config.pad_token_id = encoder.pad_token_id
        return
    config.vocab_size = len(encoder)
    for name in SPECIAL_TOKENS:
        if hasattr(config, f"{name}_token_id"):
            setattr(config, f"{name}_token_id", getattr(encoder, f"{name}_token_id"))


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
