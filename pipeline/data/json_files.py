"""JSON files as tables: a list of objects, also as the `data` of one object, one object a line, or SQuAD's.

The content decides which of them it is, not the ending.

Lists and objects inside a row stay what they are: list and struct columns of Arrow.
"""

import json
import re
import sys
from bisect import bisect_left
from collections.abc import Container, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.data import rows
from pipeline.data.squad_files import is_squad, questions
from pipeline.data.text_files import ROWS_A_CHUNK, lines
from pipeline.errors import UserError, did_you_mean

_SPACE = re.compile(r"[ \t\r\n]*")
_KINDS = {"string": "text", "int64": "whole numbers", "double": "numbers", "bool": "true or false"}
_UNKNOWN = pa.null()
_EXAMPLE = '{"text": "...", "label": "..."}'

Item = tuple[int | str, Any]
"""The line or row where a value stands, or the id of a question, and the value."""


def read_json(path: Path, short: str, wanted: rows.Wanted, limit: int | None) -> pa.Table:
    """The objects of a file as rows; for the arguments see `files.read_file`.

    A key that an object lacks is null in the columns that nobody asked for, and an error in a wanted one.

    Raises:
        UserError: malformed JSON; no list of objects; a wanted key is missing, or its values are of different kinds.
    """
    mark, unit, items = _items(path)
    objects = islice(_objects(path, unit, items), limit)
    names: dict[str, None] = {}
    tables: list[pa.Table] = []
    types: dict[str, pa.DataType] = {}
    while chunk := list(islice(objects, limit or ROWS_A_CHUNK)):
        for place, value in chunk:
            names.update(_keys(path, unit, place, value, names))
        columns = {"id": pa.array([f"{short}{mark}{place}" for place, _ in chunk], pa.string())}
        needed = wanted(list(names))
        for name in rows.kept(path.as_posix(), list(names), wanted, limit is not None):
            if name in needed:
                columns[name] = _strict_array(path, unit, name, chunk, types.get(name, _UNKNOWN))
                types[name] = _unified(columns[name].type, types.get(name, _UNKNOWN))
            else:
                columns[name] = _loose_array([value.get(name) for _, value in chunk])
        tables.append(pa.table(columns))
    return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({"id": []})


def _items(path: Path) -> tuple[str, str, Iterator[Item]]:
    """What stands between a file's name and a place in it, what a place is, and the values with their places."""
    stream = lines(path)
    blank, first = 0, next(stream, None)
    while first is not None and not first.strip():
        blank, first = blank + 1, next(stream, None)
    if first is None:
        raise UserError(f"{path}: is empty")
    if first.lstrip().startswith("["):
        return "#", "row", _list_items(path, "\n" * blank + first + "".join(stream))
    document = _value(first)
    if document is None or _inside(document):  # one object over several lines, or on one; else an object a line
        rest = list(stream)
        document, stream = _value(first + "".join(rest)), iter(rest)
    if inside := _inside(document):
        return ("#", "question", questions(path, inside)) if is_squad(inside) else ("#", "row", enumerate(inside, 1))
    return ":", "line", _line_items(path, chain([first], stream), blank + 1)


def _inside(document: Any) -> list[Any]:
    """The rows, or SQuAD's articles, that are the `data` of one object around them; empty if there is no such thing."""
    data = document.get("data") if isinstance(document, dict) else None
    return data if isinstance(data, list) and data and isinstance(data[0], dict) else []


def _value(text: str) -> Any:
    """The value of a JSON text; None if it is malformed."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _keys(path: Path, unit: str, place: int | str, value: dict[str, Any], known: Container[str]) -> dict[str, None]:
    """The keys of an object that are not known yet."""
    new = dict.fromkeys(key for key in value if key not in known)
    for key in new:
        if reason := rows.half_pair(key):
            raise UserError(f"{path}, {unit} {place}: the key {rows.shown(key)} has {reason}")
    return new


def _objects(path: Path, unit: str, items: Iterator[Item]) -> Iterator[tuple[int | str, dict[str, Any]]]:
    for place, value in items:
        if not isinstance(value, dict):
            raise UserError(f"{path}, {unit} {place}: {rows.shown(value)}, where an object is due: {_EXAMPLE}")
        yield place, value


def _line_items(path: Path, stream: Iterator[str], start: int) -> Iterator[Item]:
    for number, line in enumerate(stream, start):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            if number == start and line.strip() == "{":
                reason = "is one JSON object; it must be a list of objects, or have one object a line"
                raise UserError(f"{path}: {reason}") from None
            raise UserError(f"{path}, line {number}, column {error.colno}: {_plain(error)}") from None
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: {_beyond_python(error)}") from None


def _list_items(path: Path, text: str) -> Iterator[Item]:
    """The items of a JSON list, one at a time: the text stays in memory, its objects do not."""
    decode = json.JSONDecoder().raw_decode
    place = _skip(text, text.index("[") + 1)
    row = 0
    try:
        closed = text[place : place + 1] == "]"
        while not closed:
            row += 1
            value, place = decode(text, place)
            yield row, value
            place = _skip(text, place)
            if text[place : place + 1] not in (",", "]"):
                raise json.JSONDecodeError("Expecting ',' or ']'", text, place)
            closed = text[place] == "]"
            place = place if closed else _skip(text, place + 1)
        rest = _skip(text, place + 1)
        if rest < len(text):
            raise json.JSONDecodeError("Extra data behind the list", text, rest)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno} (row {max(row, 1)}): {_plain(error)}"
        ) from None
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, place) + 1
        raise UserError(f"{path}, line {line} (row {row}): {_beyond_python(error)}") from None


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None  # the pattern matches the empty text
    return found.end()


def _plain(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()):
        return "the JSON breaks off here"
    return f"malformed JSON ({error.msg[:1].lower() + error.msg[1:].removesuffix(' starting at')})"


def _beyond_python(error: ValueError | RecursionError) -> str:
    """What Python cannot read of valid JSON."""
    if isinstance(error, RecursionError):
        return "lists or objects are nested too deep for any column"
    most = sys.get_int_max_str_digits()
    return f"a number has more than {most:,} digits, which no column can hold; put it in quotes if it is text"


def _loose_array(values: Sequence[Any]) -> pa.Array:
    """A column that nobody asked for: values of different kinds become their JSON."""
    if _type(values) is not None:
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value) for value in values])


def _strict_array(
    path: Path, unit: str, name: str, chunk: Sequence[tuple[int | str, dict[str, Any]]], above: pa.DataType
) -> pa.Array:
    """A wanted column; `above` is the type of the chunks before this one."""
    for place, value in chunk:
        if name not in value:
            keys = ", ".join(value) or "none"
            raise UserError(f"{path}, {unit} {place}: has no '{name}'; its keys are {keys}.{did_you_mean(name, value)}")
    values = [value[name] for _, value in chunk]
    if _type(values, above) is not None:
        return pa.array(values)
    index = bisect_left(range(len(values)), True, key=lambda last: _type(values[: last + 1], above) is None)
    before = _type(values[:index], above)
    assert before is not None  # the last value of the shortest unfit beginning is the unfit one
    part, value, before = _misfit(name, values[index], before)
    found = f"{path}, {unit} {chunk[index][0]}: '{part}' is {rows.shown(value)}"
    if isinstance(value, str) and (reason := rows.half_pair(value)):
        raise UserError(
            f"{found}, which has {reason}.\n"
            r"A character beyond \uffff takes both halves (\ud83d\ude00); write both, or take the half out."
        )
    if pa.types.is_null(before):
        raise UserError(f"{found}, which no column can hold")
    raise UserError(f"{found}, where {'the rows' if part == name else 'those'} above have {_in_words(before)}")


def _misfit(name: str, value: Any, above: pa.DataType) -> tuple[str, Any, pa.DataType]:
    """The innermost part of a value that does not fit: its place, itself, and the type of those above it.

    The second item of a list is `tokens[1]`, a key of an object `answers.text`.
    """
    unknown = pa.types.is_null(above)
    if isinstance(value, list) and (unknown or pa.types.is_list(above)):
        kind = _UNKNOWN if unknown else above.value_type
        for place, item in enumerate(value):
            merged = _type([item], kind)
            if merged is None:
                return _misfit(f"{name}[{place}]", item, kind)
            kind = merged
    if isinstance(value, dict) and (unknown or pa.types.is_struct(above)):
        kinds = {} if unknown else {field.name: field.type for field in above}
        for key, item in value.items():
            if _type([item], kinds.get(key, _UNKNOWN)) is None:
                return _misfit(f"{name}.{key}", item, kinds.get(key, _UNKNOWN))
    return name, value, above


def _in_words(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return "lists" if pa.types.is_null(kind.value_type) else f"lists of {_in_words(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"objects with {', '.join(field.name for field in kind)}" if kind.num_fields else "objects"
    return _KINDS.get(str(kind), str(kind))


def _type(values: Sequence[Any], above: pa.DataType = _UNKNOWN) -> pa.DataType | None:
    """The type that holds the values and those above them; None if they are of different kinds."""
    try:
        return _unified(pa.array(values).type, above)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None


def _unified(*types: pa.DataType) -> pa.DataType:
    """The type that holds all of these: null gives way to all, whole numbers to numbers."""
    schemas = [pa.schema([("", kind)]) for kind in types]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
