"""Views of whole docstrings: texts, summaries, chats, choices, preferences, pairs, and what a docstring tells of."""

import ast
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.data.docstrings import numpydoc
from pipeline.data.docstrings.source import Documented

Row = dict[str, Any]

MIN_WORDS = 10
"""Of a body or a whole text; shorter ones are left out."""

MAX_CHARACTERS = 2000
"""Of a body; the rest is cut off at the end of a line."""

LEAD = "In one line:"
_WRONG_ENDINGS = 3
_NEIGHBOURS = 10
_FEWEST_LINES, _MOST_LINES = 3, 6
_SECTIONS = ("Attributes", "Examples", "Notes", "Parameters", "Raises", "References", "Returns", "See Also", "Yields")


def texts(owners: Iterable[Documented]) -> Iterator[Row]:
    """Whole docstrings."""
    for owner in owners:
        text = numpydoc.text_of(owner)
        if _is_long(text):
            yield {"id": owner.place, "text": text}


def summaries(owners: Iterable[Documented]) -> Iterator[Row]:
    """The body of a docstring, and its first paragraph as the summary."""
    for owner, summary, body in _parted(owners):
        yield {"id": owner.place, "document": body, "summary": summary}


def pairs(owners: Iterable[Documented]) -> Iterator[Row]:
    """The first paragraph of a docstring, and its body, which belongs to it."""
    for owner, summary, body in _parted(owners):
        yield {"id": owner.place, "anchor": summary, "positive": body}


def choices(owners: Iterable[Documented]) -> Iterator[Row]:
    """The body of a docstring, its true first paragraph, and those of three others, of the same file if it can be."""
    others: deque[str] = deque(maxlen=_WRONG_ENDINGS)
    for owner, summary, body in _parted(owners):
        if summary in others:
            continue
        if len(others) == _WRONG_ENDINGS:
            endings = [summary, *others]
            owner.draw.shuffle(endings)
            row = {f"ending{place}": ending for place, ending in enumerate(endings)}
            yield {"id": owner.place, "sent1": body, "sent2": LEAD, **row, "label": endings.index(summary)}
        others.append(summary)


def chats(owners: Iterable[Documented]) -> Iterator[Row]:
    """A user asks what a function does, and what a parameter of it is if the docstring says that, too."""
    for owner, summary, _ in _parted(owners):
        if not (signature := _signature(owner)):
            continue
        turns = [f"What does `{signature}` of {owner.package} do?", summary]
        parameter = next((found for found in numpydoc.parameters(numpydoc.text_of(owner)) if found.description), None)
        if parameter is not None:
            answer = " ".join(numpydoc.first_sentence(parameter.description).split())
            turns += [f"And what is `{parameter.names[0]}`?", answer]
        roles = ("user", "assistant") * (len(turns) // 2)
        messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
        yield {"id": owner.place, "messages": messages}


def preferences(owners: Iterable[Documented]) -> Iterator[Row]:
    """The first lines of a docstring in their order, which is preferred, and shuffled."""
    for owner in owners:
        lines = [line.strip() for line in numpydoc.text_of(owner).split("\n") if line.strip()][:_MOST_LINES]
        if len(set(lines)) < _FEWEST_LINES or not (signature := _signature(owner)):
            continue
        shuffled = list(lines)
        draw = owner.draw
        while shuffled == lines:
            draw.shuffle(shuffled)
        prompt = f"What does `{signature}` of {owner.package} do?"
        yield {"id": owner.place, "prompt": prompt, "chosen": "\n".join(lines), "rejected": "\n".join(shuffled)}


def counts(owners: Iterable[Documented]) -> Iterator[Row]:
    """The name and first paragraph of a function, and how many arguments it takes, `self` and `cls` aside."""
    for owner in owners:
        summary, _ = numpydoc.parted(numpydoc.text_of(owner))
        if (arguments := _arguments(owner)) is not None and summary:
            yield {"id": owner.place, "text": f"{owner.name}: {summary}", "label": float(len(arguments))}


def similarities(owners: Iterable[Documented]) -> Iterator[Row]:
    """The first paragraphs of two functions, and the share of their arguments' names that both have (Jaccard).

    The other function is one of those just before.
    """
    before: deque[tuple[str, set[str]]] = deque(maxlen=_NEIGHBOURS)
    for owner in owners:
        summary, _ = numpydoc.parted(numpydoc.text_of(owner))
        arguments = set(_arguments(owner) or ())
        if not summary or not arguments:
            continue
        if before:
            other, others = owner.draw.choice(before)
            share = len(arguments & others) / len(arguments | others)
            yield {"id": owner.place, "sentence1": summary, "sentence2": other, "label": share}
        before.append((summary, arguments))


def kinds(owners: Iterable[Documented]) -> Iterator[Row]:
    """The text of a docstring before its first section, and which of the usual sections follow."""
    for owner in owners:
        text = numpydoc.text_of(owner)
        found = numpydoc.sections(text)
        known = [title.lower() for title in _SECTIONS if title in found]
        begin = min((start - 2 for start, _ in found.values()), default=0)
        if known and (prose := "\n".join(text.split("\n")[:begin]).strip()):
            yield {"id": owner.place, "text": " ".join(prose.split()), "label": known}


def _is_long(text: str) -> bool:
    return len(text.split()) >= MIN_WORDS


def _parted(owners: Iterable[Documented]) -> Iterator[tuple[Documented, str, str]]:
    """What has a body that is long enough: with its first paragraph, and with the body."""
    for owner in owners:
        summary, body = numpydoc.parted(numpydoc.text_of(owner))
        if len(body) > MAX_CHARACTERS:
            body = body[:MAX_CHARACTERS].rpartition("\n")[0]
        if _is_long(body):
            yield owner, summary, body


def _arguments(owner: Documented) -> list[str] | None:
    """The names of a function's arguments; None for a class or a module."""
    if not isinstance(owner.node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    spec = owner.node.args
    named = [*spec.posonlyargs, *spec.args, *([spec.vararg] if spec.vararg else [])]
    named += [*spec.kwonlyargs, *([spec.kwarg] if spec.kwarg else [])]
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]


def _signature(owner: Documented) -> str:
    """A function with the names of its arguments, as `fit(X, y)`; empty for a class or a module."""
    arguments = _arguments(owner)
    return "" if arguments is None else f"{owner.name}({', '.join(arguments)})"
