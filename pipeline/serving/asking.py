"""What somebody asks a model, as the rows of its task have it.

The task's own example (`Task.example`) shows what a column takes: a text; words, or a text that has them; or messages,
or a text that a user says. A list may come as a text of JSON, since CSV has no other.
"""

import json
from typing import Any

from pipeline.data import conversations
from pipeline.data.rows import half_pair, shown

Row = dict[str, Any]


def kind(like: Any) -> str:
    """What a column takes, in words, of which the example has this value."""
    if isinstance(like, str):
        return "text"
    return "text or list of words" if isinstance(like[0], str) else "text or list of messages"


def is_blank(value: Any, like: Any) -> bool:
    """Whether a value is missing or empty, so that there is nothing to answer.

    Args:
        like: the example's value; where that is empty, nothing is missing.
    """
    given = _listed(value) if isinstance(like, list) else value
    return bool(like) and not (given.strip() if isinstance(given, str) else given is not None and given != [])


def settled(value: Any, like: Any) -> str | list[str]:
    """A value as the column of prepared rows has it, of which the example has the value `like`.

    Raises:
        ValueError: it is of another kind; the message goes on behind the name of the column.
    """
    given = "" if value is None and not like else value
    if isinstance(like, str):
        return _text(given, "text")
    listed = _listed(given)
    if isinstance(listed, str):
        return _text(listed, kind(like))
    if isinstance(like[0], str):
        if not (isinstance(listed, list) and all(isinstance(word, str) for word in listed)):
            raise ValueError(f"holds {shown(given)}, which is no {kind(like)}")
        return [_text(word, kind(like)) for word in listed]
    try:
        return json.dumps(conversations.asked(listed), ensure_ascii=False)
    except ValueError as error:
        raise ValueError(f"holds {shown(given)}: {error}") from None


def of_example(example: Row) -> Row:
    """A task's example as its rows have it."""
    return {name: settled(value, value) for name, value in example.items()}


def _text(value: Any, due: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"holds {shown(value)}, which is no {due}")
    if (half := half_pair(value)) is not None:
        raise ValueError(f"holds {half}, which is no text")
    return value


def _listed(value: Any) -> Any:
    """A value, or the list that it is the JSON of."""
    if not (isinstance(value, str) and value.lstrip().startswith("[")):
        return value
    try:
        found = json.loads(value)
    except ValueError:
        return value  # a text that begins with a bracket
    return found if isinstance(found, list) else value
