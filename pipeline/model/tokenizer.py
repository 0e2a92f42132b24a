"""The tokenizer that goes with the model: its own, another by name, or one that is trained here."""

from collections.abc import Iterable

from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pipeline.data import chat as chats
from pipeline.data import tokenizer
from pipeline.errors import UserError
from pipeline.model.config import is_decoder, load_config
from pipeline.model.fit import check_fit
from pipeline.model.origin import located, named, refusal
from pipeline.params import Params

_FEWEST_TOKENS = 3


def load_tokenizer(params: Params, *, chat: bool = False) -> PreTrainedTokenizerBase | None:
    """The tokenizer that the params name, or the pretrained model's own; None if one is to be trained here.

    What the model needs and the tokenizer has under another name is named: GPT-2 pads with its end, since padding is
    masked whatever its token, and `[SEP]` ends what a decoder reads.

    Args:
        chat: whether the task talks in turns: without a chat template of its own it gets that of `data.chat`.

    Raises:
        UserError: the folder or hub name has no tokenizer, or no fast one, or it cannot take turns.
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
    config = load_config(params.model)
    if _style(config) is not tokenizer.ENCODER:
        loaded.bos_token = loaded.bos_token or loaded.cls_token
        loaded.eos_token = loaded.eos_token or loaded.sep_token
    loaded.pad_token = loaded.pad_token or loaded.eos_token
    if chat and loaded.chat_template is None:
        _take_turns(loaded, None if params.model.model_name_or_path is None else config.vocab_size, f"{key}: {name}")
    loaded.model_max_length = params.tokenizer.max_seq_length
    return loaded


def make_tokenizer(params: Params, texts: Iterable[str], *, chat: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of `load_tokenizer`, or one trained on the texts; it makes only inputs that the model takes."""
    config = load_config(params.model)
    made = load_tokenizer(params, chat=chat) or tokenizer.train(texts, params.tokenizer, _style(config), chat=chat)
    if (getattr(config, "type_vocab_size", 0) or 0) < 2:
        made.model_input_names = [name for name in made.model_input_names if name != "token_type_ids"]
        made.init_kwargs["model_input_names"] = made.model_input_names  # else it is not saved
    if params.model.model_name_or_path is not None:
        check_fit(config, made, params.tokenizer.max_seq_length)
    return made


def _style(config: PreTrainedConfig) -> tokenizer.Style:
    """The special tokens that such a model needs."""
    if config.is_encoder_decoder:
        return tokenizer.ENCODER_DECODER
    return tokenizer.DECODER if is_decoder(config) else tokenizer.ENCODER


def _take_turns(encoder: PreTrainedTokenizerBase, room: int | None, where: str) -> None:
    """Give a tokenizer the chat template of `data.chat` and its tokens; the end of a turn ends a text.

    Args:
        room: the size of the model's vocabulary; None if it will have that of the tokenizer.
        where: the key and the name of the tokenizer.
    """
    encoder.add_special_tokens(
        {"eos_token": chats.TURN_END, "extra_special_tokens": [chats.TURN_START]}, replace_extra_special_tokens=False
    )
    if room is not None and len(encoder) > room:
        raise UserError(
            f"{where} has no chat template, and the model's vocabulary of {room:,} has no room for the tokens of one "
            f"({chats.TURN_START}, {chats.TURN_END}).\nTake a model that was made for chats; their names often end "
            "with -instruct or -chat."
        )
    encoder.chat_template = chats.TEMPLATE
