"""The tokenizer that goes with the model: its own, another by name, or one that is trained here."""

from collections.abc import Iterable

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipeline.data import tokenizer
from pipeline.errors import UserError
from pipeline.model.config import load_config
from pipeline.model.fit import check_fit
from pipeline.model.origin import located, named, refusal
from pipeline.params import Params

_FEWEST_TOKENS = 3


def load_tokenizer(params: Params) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the params name, or the pretrained model's own; None if one is to be trained here.

    Raises:
        UserError: the folder or hub name has no tokenizer, or no fast one.
    """
    model, own = named(params)
    key, name, revision = own if own[1] is not None else model
    if name is None:
        return None
    folder = located(name, key)
    try:
        loaded = AutoTokenizer.from_pretrained(folder, revision=revision, trust_remote_code=False)
    except Exception as error:  # what somebody else's files can raise has no end
        raise UserError(refusal(key, name, error, "tokenizer")) from error
    if not isinstance(loaded, PreTrainedTokenizerFast):
        raise UserError(f"{key}: {name} has no fast tokenizer (tokenizer.json). Choose one that has.")
    # transformers makes an empty tokenizer where the files of one are missing.
    if len(loaded) - len(set(loaded.all_special_ids)) < _FEWEST_TOKENS:
        raise UserError(f"{key}: {name} has no tokenizer (tokenizer.json). Copy it there, or set tokenizer_name.")
    if loaded.pad_token_id is None and loaded.eos_token_id is not None:
        loaded.pad_token = loaded.eos_token  # as GPT-2's users do: padding is masked, whatever its token
    loaded.model_max_length = params.tokenizer.max_seq_length
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
