"""Supervised fine-tuning: what the assistant says in a conversation, from all that was said before."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import pyarrow as pa

from pipeline.data import packing, turns
from pipeline.data.conversations import ASSISTANT, SYSTEM, USER, Message, conversations, parsed
from pipeline.errors import UserError
from pipeline.metrics import generated, language
from pipeline.params import Data, Tokenizer
from pipeline.tasks.base import GENERATED, Answer, Layout, Predictions
from pipeline.tasks.base.language_model import LanguageModel
from pipeline.views import View

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MOST_COLUMNS = 3


@final
@dataclass(frozen=True)
class SFT(LanguageModel):
    """A row is a conversation, as JSON; its targets are the assistant's tokens."""

    also_called: ClassVar[tuple[str, ...]] = ("chat", "instruction-tuning", "text-generation")
    layouts: ClassVar[tuple[Layout, ...]] = (
        Layout(("messages",)),
        Layout(("prompt", "completion")),
        Layout(("instruction", "input", "output")),
        Layout(("instruction", "output")),
        Layout(("conversations",)),
    )
    over_length: ClassVar[tuple[str, ...]] = ("truncate", "drop", "raise", "window")
    takes_turns: ClassVar[bool] = True
    fine_tuning_rate: ClassVar[float | None] = 2e-5  # TRL's default
    generates: ClassVar[Literal["none", "asked", "few", "all"]] = "few"
    inputs: tuple[str, ...] = ("messages",)

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        texts = cls.layout_of(table, data).texts
        if len(texts) > _MOST_COLUMNS:
            raise UserError(
                f"data.text_column_names: {len(texts)} columns; this task takes one of messages, a prompt and a "
                "completion, or an instruction, an input and an output."
            )
        conversations(table, texts)

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        found = conversations(table, self.layout_of(table, data).texts)
        return pa.table({"id": table["id"], "messages": [json.dumps(turns, ensure_ascii=False) for turns in found]})

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        return [_question(found) for found in _of(rows)]

    def vocabulary(self, rows: pa.Table) -> Iterable[str]:
        return (turn["content"] for conversation in _of(rows) for turn in conversation)

    def encode(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer, training: bool
    ) -> pa.Table:
        ids = rows["id"].to_pylist()
        return packing.pieces(*turns.tokens(_of(rows), ids, tokenizer), ids, settings, training)

    def predicted(self, rows: pa.Table) -> Sequence[str]:
        return ["".join(_said(conversation)) for conversation in _of(rows)]

    def views(self, rows: pa.Table, predictions: Predictions, most: int) -> list[View]:
        found = _of(rows)
        texts = ["\n".join(_said(conversation)) for conversation in found]
        asked = [_last(_asked(conversation)) for conversation in found]
        given = [_last(conversation[len(_asked(conversation)) :]) for conversation in found]
        titles = ("Asked last", "Reply in the data")
        replies = generated.replies(rows, asked, given, titles, "what the assistant says there")
        return [replies, language.most_surprising(rows, texts, predictions, most)]

    def prompts(
        self, rows: pa.Table, tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
    ) -> Sequence[Sequence[int]]:
        return [turns.prompt(_asked(conversation), tokenizer) for conversation in _of(rows)]

    def example(self) -> dict[str, Any]:
        return {"messages": [{"role": USER, "content": "What does a pipeline do?"}]}

    def answers(self, predictions: Predictions, rows: pa.Table) -> list[Answer]:
        return [{"generated_text": text} for text in rows[GENERATED].to_pylist()]


def _question(conversation: list[Message]) -> tuple[str, ...]:
    """What is asked, as another answer makes no other question; where nobody asks anything, all that is said."""
    asks = any(turn["role"] not in (ASSISTANT, SYSTEM) and turn["content"].strip() for turn in conversation)
    return tuple(turn["content"] for turn in conversation if not asks or turn["role"] != ASSISTANT)


def _asked(conversation: list[Message]) -> list[Message]:
    """A conversation up to where the assistant speaks last, or all of it where somebody waits for an answer."""
    said = [place for place, turn in enumerate(conversation) if turn["role"] == ASSISTANT]
    return conversation[: said[-1]] if said and said[-1] == len(conversation) - 1 else conversation


def _last(conversation: Sequence[Message]) -> str:
    """What is said last, if anything."""
    return conversation[-1]["content"] if conversation else ""


def _of(rows: pa.Table) -> list[list[Message]]:
    return [parsed(text) for text in rows["messages"].to_pylist()]


def _said(conversation: Sequence[Message]) -> list[str]:
    """What the assistant says."""
    return [turn["content"] for turn in conversation if turn["role"] == ASSISTANT]


TASK = SFT
