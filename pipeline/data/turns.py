"""Conversations as tokens, through a tokenizer's chat template, and which of them the assistant says."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.data.conversations import ASSISTANT, Message
from pipeline.errors import UserError

if TYPE_CHECKING:
    # More than a second of imports, which those that encode have paid already.
    from transformers import PreTrainedTokenizerBase

# Some templates tell the model the date. Of today, the same rows would be other tokens tomorrow.
_DATED = "{% macro strftime_now(form) %}26 Jul 2024{% endmacro %}{% set date_string = '26 Jul 2024' %}"  # Llama's own
# What a template marks as said by the assistant.
_MARKED = re.compile(r"\{%-?\s*generation\b")
_REPLY = "\ue000"  # for private use, so that no template has it


def tokens(
    conversations: Sequence[list[Message]], ids: Sequence[str], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Token ids of conversations, and whether the assistant says them, by row.

    Where the template marks what is said, its marks count; elsewhere the turns are found by rendering what comes
    before each, and what it ends with.

    Args:
        ids: where each row stands, for messages.

    Raises:
        UserError: the template refuses a conversation, or does not show where a turn begins.
    """
    marked = bool(_MARKED.search(str(tokenizer.chat_template)))
    found, said = [], []
    for conversation, place in zip(conversations, ids, strict=True):
        encoded, mask = _marked(conversation, place, tokenizer) if marked else _searched(conversation, place, tokenizer)
        found.append(np.array(encoded, np.int32))
        said.append(mask)
    return found, said


def prompt(conversation: list[Message], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Token ids of a conversation up to where the assistant begins to speak.

    Raises:
        UserError: the template refuses the conversation.
    """
    text = _rendered(conversation, "the prompt", tokenizer, begun=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _marked(
    conversation: list[Message], place: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], np.ndarray]:
    try:
        found: Any = tokenizer.apply_chat_template(
            conversation,
            return_dict=True,
            return_assistant_tokens_mask=True,
            tokenizer_kwargs={"verbose": False},
            chat_template=_template(tokenizer),
        )
    except Exception as error:  # templates are programs of others, which may raise anything
        raise _refused(place, error) from error
    return found["input_ids"], np.array(found["assistant_masks"], bool)


def _searched(
    conversation: list[Message], place: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], np.ndarray]:
    whole = _rendered(conversation, place, tokenizer)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    starts, ends = np.array(encoded["offset_mapping"], np.int64).reshape(-1, 2).T
    mask = np.zeros(len(starts), bool)
    for turn, message in enumerate(conversation):
        if message["role"] == ASSISTANT:
            begin, end = _span(conversation, turn, whole, place, tokenizer)
            mask |= (starts >= begin) & (ends <= end) & (ends > starts)
    return list(encoded["input_ids"]), mask


def _span(
    conversation: list[Message], turn: int, whole: str, place: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[int, int]:
    """Where a turn of the assistant begins and ends in the whole text, the sign that ends it included."""
    before = _rendered(conversation[:turn], place, tokenizer, begun=True)
    # Rendered with a sign in its place, since what is said may also occur in what ends a turn.
    until = _rendered([*conversation[:turn], conversation[turn] | {"content": _REPLY}], place, tokenizer)
    content, ending = conversation[turn]["content"], until.rpartition(_REPLY)[2].rstrip()
    # Templates may cut off blanks, and show a turn otherwise once others follow it, such as without what was thought.
    ends = [
        start + len(said)
        for said in (content.lstrip() + ending, content.strip() + ending)
        if (start := whole.find(said, len(before))) >= 0
    ]
    if not whole.startswith(before) or _REPLY not in until or not ends:
        raise UserError(
            f"{place}: the tokenizer's chat template does not show where the assistant's turn {turn + 1} begins and "
            "ends.\nPut {% generation %} and {% endgeneration %} around it in the template."
        )
    return len(before), ends[0]


def _rendered(
    conversation: list[Message], place: str, tokenizer: "PreTrainedTokenizerBase", *, begun: bool = False
) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=begun, chat_template=_template(tokenizer)
            )
        )
    except Exception as error:  # templates are programs of others, which may raise anything
        raise _refused(place, error) from error


def _template(tokenizer: "PreTrainedTokenizerBase") -> str:
    return f"{_DATED}{tokenizer.chat_template}"


def _refused(place: str, error: Exception) -> UserError:
    return UserError(f"{place}: the tokenizer's chat template refuses the conversation: {str(error).splitlines()[0]}")
