"""A tokenizer trained on the project's own texts, with the special tokens that the model needs."""

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from pipeline.data import chat as chats
from pipeline.data import vocabulary
from pipeline.params import Tokenizer

TOKENS = {
    "pad": "[PAD]",
    "unk": vocabulary.UNKNOWN,
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
    "bos": "[BOS]",
    "eos": "[EOS]",
}


@dataclass(frozen=True)
class Style:
    """What a kind of model expects around a text.

    Attributes:
        tokens: its special tokens, keys of `TOKENS`, in the order of their ids.
        first: the one before the first text, if there is one.
        last: the one after each text.
    """

    tokens: tuple[str, ...]
    first: str | None
    last: str


ENCODER = Style(("pad", "unk", "cls", "sep", "mask"), first="cls", last="sep")
# The first token of a text is predicted, too: from what starts it.
DECODER = Style(("pad", "unk", "bos", "eos"), first="bos", last="eos")
ENCODER_DECODER = Style(("pad", "unk", "bos", "eos", "mask"), first=None, last="eos")


def train(
    texts: Iterable[str], settings: Tokenizer, style: Style = ENCODER, *, chat: bool = False
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on texts; a pair is framed as ``first a last b last``.

    Args:
        chat: whether it shall take turns: it gets a chat template, and the end of a turn ends a text.
    """
    special = {name: TOKENS[name] for name in style.tokens}
    if chat:
        special["eos"] = chats.TURN_END
    turns = [chats.TURN_START] if chat else []
    learned = vocabulary.learn(texts, settings, [*special.values(), *turns])
    first, last = special[style.first] if style.first else "", special[style.last]
    learned.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}".strip(),
        pair=f"{first} $A {last} $B:1 {last}:1".strip(),
        special_tokens=[(token, learned.token_to_id(token)) for token in (first, last) if token],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=learned,
        model_max_length=settings.max_seq_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": token for name, token in special.items()},
        **({"chat_template": chats.TEMPLATE, "extra_special_tokens": turns} if chat else {}),
    )
