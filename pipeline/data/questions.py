"""Questions on a context, with the spans of it that answer them, as SQuAD's files have them.

`answers` of a row are `text`, a list of texts, and `answer_start`, the characters of the context that they begin at.
Both are empty where the context does not answer the question, as in version 2 of SQuAD.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.data.rows import require_columns, shown, where
from pipeline.errors import UserError, counted
from pipeline.params import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
NO_ANSWERS: dict[str, list[Any]] = {"text": [], "answer_start": []}

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s)|(?=\s*\n\s*\n)|(?=\s*\Z))", re.DOTALL)
_DUE = '{"text": ["..."], "answer_start": [17]}'


class Span(NamedTuple):
    """A part of a context: from the character `start` up to, and without, the character `end`."""

    start: int
    end: int


NOWHERE = Span(-1, -1)
"""The answer that there is none."""


def answers_column(table: pa.Table, name: str, contexts: Sequence[str]) -> list[dict[str, list[Any]]]:
    """The answers to every row's question.

    Raises:
        UserError: the column is missing, a value holds no answers, or an answer is not where it says.
    """
    require_columns(table, [name], "data.label_column_name")
    found: list[Any] = table[name].to_pylist()
    for row, (answers, context) in enumerate(zip(found, contexts, strict=True)):
        if reason := _fault(answers, context):
            raise UserError(f"{where(table, row)}: '{name}' {reason}")
    return [{key: answers[key] for key in NO_ANSWERS} for answers in found]


def _fault(answers: Any, context: str) -> str | None:
    """What is wrong with the answers of a row."""
    if not (isinstance(answers, dict) and all(isinstance(answers.get(key), list) for key in NO_ANSWERS)):
        return f"is {shown(answers)}, where {_DUE} is due; both lists are empty if there is no answer."
    texts, starts = answers["text"], answers["answer_start"]
    if len(texts) != len(starts):
        found = f"{counted(len(texts), 'text')} and {counted(len(starts), 'place')}"
        return f"has {found} in answer_start. Each answer has one."
    for text, start in zip(texts, starts, strict=True):
        if not (isinstance(text, str) and isinstance(start, int)):
            return f"is {shown(answers)}, where {_DUE} is due."
        if not text.strip():
            return "has an empty text. Where there is no answer, both lists are empty."
        if start < 0 or context[start : start + len(text)] != text:
            place = context.find(text)
            there = f"it begins at {place:,}" if place >= 0 else "it is not in the context"
            return (
                f"says that {shown(text)} begins at the character {start:,} of the context, which has "
                f"{shown(context[max(start, 0) : max(start, 0) + len(text)])} there; {there}.\n"
                "An answer is a part of the context as it stands; characters are counted from 0."
            )
    return None


def spans_of(answers: dict[str, list[Any]]) -> list[Span]:
    """Where the answers of a row stand, without white space around them."""
    return [
        trimmed(text, Span(0, len(text)), start)
        for text, start in zip(answers["text"], answers["answer_start"], strict=True)
    ]


def sentences(text: str) -> list[Span]:
    """The sentences of a text, roughly: up to a full stop, ? or ! before white space, or the end of a paragraph."""
    return [Span(*found.span()) for found in _SENTENCE.finditer(text)]


def trimmed(text: str, span: Span, shift: int = 0) -> Span:
    """A span of a text without the white space at its ends, moved by `shift`."""
    part = text[span.start : span.end]
    start = span.start + len(part) - len(part.lstrip())
    return Span(start + shift, start + len(part.strip()) + shift)


def check_room(
    texts: Sequence[Sequence[str]], ids: Sequence[str], tokenizer: "PreTrainedTokenizerBase", settings: Tokenizer
) -> None:
    """Raise a UserError if a question leaves too few tokens for a window of its context."""
    overlap = settings.doc_stride if settings.over_length == "window" else 0
    most = settings.max_seq_length - tokenizer.num_special_tokens_to_add(pair=True)
    tokens = tokenizer(list(texts[0]), add_special_tokens=False, return_attention_mask=False, verbose=False)[
        "input_ids"
    ]
    for row, question in enumerate(tokens):
        room = most - len(question)
        if room > overlap:
            continue
        if len(tokenizer(texts[1][row], add_special_tokens=False, verbose=False)["input_ids"]) > room:
            over = f", no more than tokenizer.doc_stride {overlap:,}" if overlap else ""
            raise UserError(
                f"{ids[row]}: the question has {len(question):,} tokens, which leaves {max(room, 0):,} of "
                f"tokenizer.max_seq_length {settings.max_seq_length:,} for the context{over}.\n"
                "Raise max_seq_length, lower doc_stride, or shorten the question."
            )


def tokens_of(span: Span, offsets: np.ndarray) -> tuple[int, int] | None:
    """The first and the last token of a span of the context; None if this window does not hold all of it.

    Args:
        offsets: where each token begins and ends, (tokens, 2); below 0 for those that are not of the context.
    """
    tokens = np.flatnonzero(offsets[:, 0] >= 0)
    starts, ends = offsets[tokens].T
    if span == NOWHERE or not len(tokens) or span.start < starts[0] or ends[-1] < span.end:
        return None
    first = int(np.searchsorted(ends, span.start, side="right"))
    last = int(np.searchsorted(starts, span.end, side="left")) - 1
    return (int(tokens[first]), int(tokens[last])) if first <= last else None
