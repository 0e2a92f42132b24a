"""Views of the parameters that docstrings describe: as entities to find, and as questions to answer."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.data.docstrings import numpydoc
from pipeline.data.docstrings.numpydoc import Parameter
from pipeline.data.docstrings.source import Documented

MAX_CONTEXT = 2000
"""Characters of a question's context; docstrings that are longer up to their parameters' end are left out."""

_QUESTIONS = 2
_TOKEN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[^\W\d]\w*(?:\.\w+)*|`+|[^\w\s]|\w+")
# `int`, then ", optional", "(default=5)" and the like.
_TYPE = re.compile(r" ?: ?(?P<type>.+?)(?=[,;.]? ?\(?(?:optional|default|keyword|required)\b|$)", re.IGNORECASE)
_QUOTED = r"(?::\w+:)?(?:``(?P<a>[^`]+)``|`(?P<b>[^`]+)`|(?P<c>'[^']*'|\"[^\"]*\"))"
_IN_HEAD = re.compile(
    rf"\bdefaults?(?: value)?(?: ?[=:] ?| is | to | )(?:{_QUOTED}|(?P<d>[^\s,;()`]*[^\s,;()`.]))", re.IGNORECASE
)
_LITERAL = r"True|False|None|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_BELOW = re.compile(
    rf"\b(?:default(?: value)?(?: is| ?[:=])|defaults to) ?(?:{_QUOTED}|(?P<d>\b(?:{_LITERAL})\b))", re.IGNORECASE
)

Span = tuple[int, int, str]
"""Where an entity begins and ends in a text (characters), and its type."""


def entities(owners: Iterable[Documented]) -> Iterator[dict[str, Any]]:
    """A row for each parameter: the words of its entry, with the names, types and defaults in it as entities.

    A name counts in the entry's first line and wherever the text quotes a parameter of the same docstring.
    """
    for owner in owners:
        found = list(numpydoc.parameters(numpydoc.text_of(owner)))
        names = sorted({name for parameter in found for name in parameter.names}, key=lambda name: (-len(name), name))
        for parameter in found:
            if ":" in parameter.head and parameter.description:
                head = " ".join(parameter.head.split())
                text = f"{head} {' '.join(parameter.description.split())}"
                tokens, tags = tagged(text, _spans(text, len(head), parameter, names))
                place = f"{owner.path}:{numpydoc.line_of(owner, parameter.line)}"
                yield {"id": place, "tokens": tokens, "ner_tags": tags}


def _spans(text: str, head: int, parameter: Parameter, names: Iterable[str]) -> list[Span]:
    """The entities of an entry; `head` is the length of its first line."""
    own, _, _ = text[:head].partition(":")
    found = [(*match.span(), "PARAM") for match in re.finditer(r"\w+", own)]
    if kind := _TYPE.match(text[:head], len(own.rstrip())):
        found.append((*kind.span("type"), "TYPE"))
    quoted = re.compile(rf"(``?|\*)(?P<name>{'|'.join(map(re.escape, names))})\1")
    found += [(*match.span("name"), "PARAM") for match in quoted.finditer(text, head)]
    for pattern, begin, end in ((_IN_HEAD, 0, head), (_BELOW, head, len(text))):
        for match in pattern.finditer(text, begin, end):
            found.append((*match.span(match.lastgroup or 0), "DEFAULT"))
    return found


def tagged(text: str, spans: Iterable[Span]) -> tuple[list[str], list[str]]:
    """The tokens of a text and their tags in IOB2; of spans that overlap, the later ones are left out."""
    matches = list(_TOKEN.finditer(text))
    tags = ["O"] * len(matches)
    for begin, end, kind in spans:
        inside = [place for place, match in enumerate(matches) if begin <= match.start() and match.end() <= end]
        if inside and all(tags[place] == "O" for place in inside):
            for place in inside:
                tags[place] = f"I-{kind}"
            tags[inside[0]] = f"B-{kind}"
    return [match[0] for match in matches], tags


def questions(owners: Iterable[Documented]) -> Iterator[dict[str, Any]]:
    """Rows that ask what parameters are; the answer is the first sentence of the description.

    The context is the docstring up to the end of its parameters. Beside questions on its own parameters there is
    one without an answer: on a parameter of the docstring before, which this one does not mention.
    """
    before: list[str] = []
    for owner in owners:
        text = numpydoc.text_of(owner)
        found = [parameter for parameter in numpydoc.parameters(text) if parameter.description]
        context = "\n".join(text.split("\n")[: numpydoc.sections(text).get("Parameters", (0, 0))[1]]).rstrip()
        if not found or len(context) > MAX_CONTEXT:
            continue
        draw = owner.draw
        for parameter in draw.sample(found, min(_QUESTIONS, len(found))):
            answer = numpydoc.first_sentence(parameter.description)
            place = f"{owner.path}:{numpydoc.line_of(owner, parameter.line)}"
            yield _question(place, draw.choice(parameter.names), context, {answer: parameter.start})
        strange = [name for name in before if name not in context]
        if strange:
            yield _question(owner.place, draw.choice(strange), context, {})
        before = [name for parameter in found for name in parameter.names]


def _question(place: str, name: str, context: str, answers: dict[str, int]) -> dict[str, Any]:
    return {
        "id": place,
        "question": f"What is `{name}`?",
        "context": context,
        "answers": {"text": list(answers), "answer_start": list(answers.values())},
    }
