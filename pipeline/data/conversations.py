"""Columns of chats and instructions as conversations: turns of a system, a user and an assistant."""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from pipeline.data.rows import shown, where
from pipeline.errors import UserError, did_you_mean

_Made = TypeVar("_Made")
Message = dict[str, str]
"""A turn: its `role` and its `content`."""

ASSISTANT, SYSTEM, USER = "assistant", "system", "user"
_ROLES = {
    "system": SYSTEM,
    "developer": SYSTEM,
    "human": USER,
    "user": USER,
    "gpt": ASSISTANT,
    "assistant": ASSISTANT,
    "chatgpt": ASSISTANT,
    "model": ASSISTANT,
    "tool": "tool",
    "observation": "tool",
}
"""Roles as they are spelled in the wild, with the names that chat templates know."""


def conversations(table: pa.Table, columns: Sequence[str]) -> list[list[Message]]:
    """The conversations of a raw table.

    Args:
        columns: one of messages (`role`, `content`, or ShareGPT's `from`, `value`); a prompt and a completion, each
            a text or messages; or Alpaca's instruction, input and output.

    Raises:
        UserError: a value is no conversation, or its assistant says nothing.
    """
    return _by_row(table, columns, _conversation)


def replies(table: pa.Table, columns: Sequence[str]) -> list[list[list[Message]]]:
    """What is asked in each row of a raw table, and behind it each of the replies.

    Args:
        columns: of what is asked (a text, or messages), and of each reply (likewise, or a single message).

    Raises:
        UserError: a value is none of these, or a reply says nothing.
    """
    return _by_row(table, columns, _replies)


def parsed(text: str) -> list[Message]:
    """The messages of a text of JSON; any other text is what a user says."""
    try:
        return _messages(json.loads(text))
    except ValueError:
        return [{"role": USER, "content": text}]


def _by_row(table: pa.Table, columns: Sequence[str], make: Callable[[Sequence[Any]], _Made]) -> list[_Made]:
    found = []
    for place, values in enumerate(zip(*(table[name].to_pylist() for name in columns), strict=True)):
        try:
            found.append(make(values))
        except ValueError as error:
            named = " and ".join(f"'{name}'" for name in columns)
            raise UserError(f"{where(table, place)}: {named}: {error}") from None
    return found


def _replies(values: Sequence[Any]) -> list[list[Message]]:
    asked, *said = values
    prompt = _turn([_from_list(asked)], USER)
    found = [_turn([_from_list(reply)], ASSISTANT) for reply in said]
    # Some sources say again, before each reply, what is asked.
    found = [turns[len(prompt) :] if turns[: len(prompt)] == prompt else turns for turns in found]
    for turns in found:
        _check_said(turns)
    return [prompt, *found]


def _from_list(value: Any) -> Any:
    """Messages that a column of CSV has as a text of JSON; any other text is what somebody says."""
    if not (isinstance(value, str) and value.lstrip().startswith("[{")):
        return value
    try:
        return _messages(json.loads(value))
    except ValueError:
        return value


def asked(value: Any) -> list[Message]:
    """What somebody asks, messages or a text that a user says, as a conversation.

    Raises:
        ValueError: it is neither.
    """
    return _turn([value], USER)


def _conversation(values: Sequence[Any]) -> list[Message]:
    if len(values) == 1:
        turns = _messages(_from_json(values[0]))
    else:
        *asked, said = values
        turns = [*_turn(asked, USER), *_turn([said], ASSISTANT)]
    _check_said(turns)
    return turns


def _check_said(turns: Sequence[Message]) -> None:
    if not any(turn["role"] == ASSISTANT and turn["content"].strip() for turn in turns):
        raise ValueError("the assistant says nothing, so that there is nothing to learn. Take the row out.")


def _from_json(value: Any) -> Any:
    """A column of CSV has messages as a text of JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is no list of messages") from None


def _turn(values: Sequence[Any], role: str) -> list[Message]:
    """Texts as one turn of this role, or messages as they are."""
    if len(values) == 1 and isinstance(values[0], list | dict):
        return _messages(values[0] if isinstance(values[0], list) else values)
    texts = [value for value in values if value not in (None, "")]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(f"{shown(wrong[0])} is neither a text nor a list of messages")
    return [{"role": role, "content": "\n\n".join(texts)}]


def _messages(value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{shown(value)} is no list of messages")
    return [_message(message) for message in value]


def _message(message: Any) -> Message:
    if not isinstance(message, dict):
        raise ValueError(f"{shown(message)} is no message, which has a role and a content")
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if role is None:
        raise ValueError("a message has no role")
    if role not in _ROLES:
        raise ValueError(f"the role {shown(role)} is unknown.{did_you_mean(str(role), _ROLES)}")
    if not isinstance(content, str):
        raise ValueError(f"what the {role} says is {shown(content)}, which is no text")
    return {"role": _ROLES[role], "content": content}
