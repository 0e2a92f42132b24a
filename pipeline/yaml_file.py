"""Reading YAML with the line of every key, and with errors that say what a person did."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError

_DEEPEST = 20
_OfWritten: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Fragments of the YAML parser's words, and what a person did. What began in an earlier line is mended there.
_SLIPS = {
    r"'\t'": "indent with spaces, not with a tab",
    "that cannot start any token": "put a text that begins with such a character in quotes",
    "mapping values are not allowed": "a wrong indentation, or a text with a colon that needs quotes",
    "expected <block end>": "a wrong indentation, or something behind the end of a value",
    "sequence entries are not allowed": "a wrong indentation, or a text that begins with - and needs quotes",
    "another document": "'---' begins a second document; leave one",
    "could not determine a constructor": "put a text that begins with ! in quotes",
    "undefined alias": "put a text that begins with * in quotes",
    "alphabetic or numeric character": "put a text that begins with * or & in quotes",
    "unknown escape character": "a backslash in double quotes; use single quotes",
}
_SLIPS_OF_AN_EARLIER_LINE = {
    "expected ',' or": "a bracket that begins here is not closed",
    "unexpected end of stream": "a quote that begins here is not closed",
    "could not find expected ':'": "a key without a colon",
}

Place = tuple[str, ...]
"""Where a key stands: the keys above it, and the key."""


def read(path: Path) -> tuple[Any, dict[Place, int]]:
    """The value of a YAML file, None if it is empty, and the line of every key.

    Raises:
        UserError: the file is missing or no YAML, or holds what Python cannot read.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, {}
        lines = dict(_lines(root, ()))
        return loader.construct_document(root), lines
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(f"{path}, line {line}: there is a control character (#x{error.character:04x})") from None
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{path}, {_not_yaml(error)}") from None


def written(text: str) -> Any:
    """The value of YAML that a program has written, such as dvc.lock; libyaml reads it ten times faster."""
    loader = _OfWritten(text)
    return loader.get_single_data()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path} is not here ({Path.cwd()}). Go to the project's folder, or write one: reprise init FILE"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: this is not UTF-8 text. Save the file as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


class _Refused(yaml.MarkedYAMLError):
    """What is valid YAML, and no params."""


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows, but Python cannot read, or no file can hold."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Refused(problem=f"lists or keys are nested more than {_DEEPEST} deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int | str):
                str(value).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            problem = f"there is a text with half a UTF-16 pair ({half}); write the character itself"
        except (ValueError, OverflowError) as error:
            number = node.tag.endswith((":int", ":float"))
            what = "a number has too many digits" if number else f"there is no such date ({error})"
            problem = f"{what}. Put it in quotes if it is text."
        else:
            return value
        raise _Refused(problem=problem, problem_mark=node.start_mark)


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    """The line of every key, by its place; a key that stands twice is an error, not the last one's value."""
    if not isinstance(node, yaml.MappingNode) or len(place) > _DEEPEST:
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a key must be a plain word", problem_mark=key.start_mark)
        if key.value in seen:
            first = f"the key '{key.value}' stands twice, first in line {seen[key.value]}"
            raise yaml.MarkedYAMLError(problem=first, problem_mark=key.start_mark)
        seen[key.value] = line
        yield (*place, key.value), line
        yield from _lines(value, (*place, key.value))


def _not_yaml(error: yaml.MarkedYAMLError) -> str:
    """Where the YAML breaks off and, for the usual slips, what they are; else the parser's words."""
    problem, mark = str(error.problem), error.problem_mark
    reason = next((words for fragment, words in _SLIPS.items() if fragment in problem), problem)
    for fragment, words in _SLIPS_OF_AN_EARLIER_LINE.items():
        if fragment in problem and error.context_mark:
            reason, mark = words, error.context_mark
    refused = "" if isinstance(error, _Refused) else "this is no valid YAML: "
    return f"line {mark.line + 1 if mark else 1}: {refused}{reason}"
