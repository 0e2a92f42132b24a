"""The parts of a docstring: its first line, its body, and the sections and parameters of the numpydoc format.

A section is a line that is underlined with dashes. In `Parameters` a line at the margin is `name : type`, and the
indented lines below it say what the parameter is.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pipeline.data.docstrings.source import Documented

_RULE = re.compile(r"-{3,}")
_HEAD = re.compile(r"(?P<names>\*{0,2}\w+(?:, ?\*{0,2}\w+)*)(?: ?: ?(?P<kind>.*))?")
_UNDERLINE = re.compile(r"[=~*^-]{3,}")
_BLANK = re.compile(r"\n\s*\n")
# A full stop ends a sentence, but for those of the two abbreviations that docstrings are full of.
_SENTENCE = re.compile(r".+?(?<!e\.g)(?<!i\.e)[.!?](?=\s|\Z)|.+", re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """An entry of a `Parameters` section.

    Attributes:
        names: without stars; an entry can hold several, as in `x, y : float`.
        head: its first line, `name : type`.
        description: its first paragraph, as it stands; empty if there is none.
        start: where the description begins in the text (characters).
        line: of its head, in the text, counted from 0.
    """

    names: tuple[str, ...]
    head: str
    description: str
    start: int
    line: int


def text_of(owner: Documented) -> str:
    """The docstring without its indentation, and without white space at the ends of lines."""
    return "\n".join(line.rstrip() for line in inspect.cleandoc(owner.docstring).split("\n")).strip()


def line_of(owner: Documented, line: int) -> int:
    """The line of the source file where a line of the text stands; both texts count lines alike from 0 and 1 on."""
    expression = owner.node.body[0]
    first = next(place for place, text in enumerate(owner.docstring.split("\n")) if text.strip())
    return expression.lineno + first + line


def parted(text: str) -> tuple[str, str]:
    """The first paragraph on one line, without what underlines it, and the rest."""
    first, *rest = _BLANK.split(text, maxsplit=1)
    return " ".join(word for word in first.split() if not _UNDERLINE.fullmatch(word)), "".join(rest)


def first_sentence(text: str) -> str:
    """The beginning of a text up to its first full stop, or all of it."""
    found = _SENTENCE.match(text)
    return found[0] if found else ""


def sections(text: str) -> dict[str, tuple[int, int]]:
    """The first and the last line (exclusive) of each section's content, by its title; lines count from 0."""
    lines = text.split("\n")
    titles = [
        place
        for place, (title, rule) in enumerate(pairwise(lines))
        if title and not title[0].isspace() and _RULE.fullmatch(rule)
    ]
    ends = [*titles[1:], len(lines)]
    return {lines[title]: (title + 2, end) for title, end in zip(titles, ends, strict=False)}


def parameters(text: str) -> Iterator[Parameter]:
    """The entries of the section `Parameters`, if there is one."""
    lines = text.split("\n")
    begin, end = sections(text).get("Parameters", (0, 0))
    for place in range(begin, end):
        if not (found := _HEAD.fullmatch(lines[place])):
            continue
        below = place + 1
        while below < end and lines[below][:1].isspace():
            below += 1
        description = "\n".join(lines[place + 1 : below])
        start = sum(len(line) + 1 for line in lines[: place + 1])
        start += len(description) - len(description.lstrip())
        names = tuple(name.strip().lstrip("*") for name in found["names"].split(","))
        yield Parameter(names, lines[place], description.strip(), start, place)
