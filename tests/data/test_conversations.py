import json
from typing import Any

import pyarrow as pa
import pytest

from pipeline.data.conversations import conversations, parsed
from pipeline.errors import UserError

ASKED = {"role": "user", "content": "What is 2 + 2?"}
SAID = {"role": "assistant", "content": "4"}


def read(**columns: Any) -> list[dict[str, str]]:
    """The conversation of one row."""
    table = pa.table({name: [value] for name, value in columns.items()} | {"id": ["x.json:7"]})
    (found,) = conversations(table, list(columns))
    return found


@pytest.mark.parametrize(
    "columns",
    [
        {"messages": [ASKED, SAID]},
        {"messages": json.dumps([ASKED, SAID])},
        {"conversations": [{"from": "human", "value": ASKED["content"]}, {"from": "gpt", "value": "4"}]},
        {"prompt": ASKED["content"], "completion": "4"},
        {"prompt": [ASKED], "completion": [SAID]},
        {"instruction": "What is 2 + 2?", "input": "", "output": "4"},
        {"instruction": "What is 2 + 2?", "input": None, "output": "4"},
        {"instruction": "What is 2 + 2?", "output": "4"},
    ],
    ids=str,
)
def test_every_form_is_the_same_conversation(columns: dict[str, Any]) -> None:
    assert read(**columns) == [ASKED, SAID]


def test_an_instruction_goes_before_its_input() -> None:
    assert read(instruction="Add.", input="2 and 2", output="4")[0]["content"] == "Add.\n\n2 and 2"


def test_a_system_may_speak_first() -> None:
    found = read(conversations=[{"from": "system", "value": "Be brief."}, {"from": "human", "value": "Hi"}, SHORT])
    assert [turn["role"] for turn in found] == ["system", "user", "assistant"]


SHORT = {"from": "gpt", "value": "Hi."}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"messages": [ASKED]}, "the assistant says nothing"),
        ({"messages": [ASKED, SAID | {"content": " "}]}, "the assistant says nothing"),
        ({"prompt": "Hi", "completion": ""}, "the assistant says nothing"),
        ({"messages": [{"content": "4"}]}, "a message has no role"),
        ({"messages": [{"role": "asistant", "content": "4"}]}, "role 'asistant' is unknown. Did you mean 'assistant'"),
        ({"messages": [{"role": "user", "content": None}, SAID]}, "what the user says is None, which is no text"),
        ({"messages": "Hello"}, "'Hello' is no list of messages"),
        ({"messages": []}, r"\[\] is no list of messages"),
        ({"messages": [1, 2]}, "1 is no message"),
        ({"prompt": 5, "completion": "4"}, "5 is neither a text nor a list of messages"),
    ],
    ids=str,
)
def test_what_is_no_conversation_is_named(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=rf"x.json, line 7: '\w+'.*{message}"):
        read(**columns)


def test_who_asks_may_write_a_text_or_messages() -> None:
    assert parsed("What is 2 + 2?") == [ASKED]
    assert parsed(json.dumps([ASKED])) == [ASKED]
    for text in ("5", "[]", '"x"', "{}"):
        assert parsed(text) == [{"role": "user", "content": text}]
