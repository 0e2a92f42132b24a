"""CoNLL files as tables: a token and its tags a line, an empty line between sentences, as CoNLL-2003 has them.

A row is a sentence: a list of tokens, and a list of tags of the same length. Tags stay as they are in the file.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import pyarrow as pa

from pipeline.data import rows
from pipeline.data.text_files import Record, lines
from pipeline.errors import UserError, counted

_DOCUMENT = "-DOCSTART-"
_WHITE = " \t\r\n"  # no other white space: a no-break space can be a token
_SPACES, _TAB = re.compile("[ \t]+"), re.compile("\t")
_CONLL_2003 = ("tokens", "pos_tags", "chunk_tags", "ner_tags")

Sentence = tuple[int, list[list[str]]]
"""The line where a sentence starts, and the fields of each of its lines."""


def read_conll(
    path: Path, short: str, column_names: Sequence[str] | None, wanted: rows.Wanted, limit: int | None
) -> pa.Table:
    """The sentences of a file; for the arguments see `files.read_file`.

    The first column is `tokens` and the last one `ner_tags`, if `column_names` does not say otherwise; of four
    columns, the two between are `pos_tags` and `chunk_tags`.

    Raises:
        UserError: there is only one column, a line has another number of columns, or `column_names` has.
    """
    sentences = _sentences(_tokens(path))
    first = next(sentences, None)
    if first is None:
        return pa.table({"id": []})
    names = _names(path, first, column_names)
    columns = {name: names.index(name) for name in rows.kept(path.as_posix(), names, wanted, limit is not None)}
    found = list(islice(chain([first], sentences), limit))
    values: dict[str, pa.Array] = {"id": pa.array([f"{short}:{line}" for line, _ in found], pa.string())}
    for name, place in columns.items():
        texts = [[fields[place] for fields in sentence] for _, sentence in found]
        values[name] = pa.array(texts, pa.list_(pa.string()))
    return pa.table(values)


def _tokens(path: Path) -> Iterator[Record]:
    """The fields of every line, none for the end of a sentence; tabs separate them if the first line has some."""
    separator, width = _SPACES, 0
    for number, line in enumerate(lines(path), 1):
        text = line.strip(_WHITE)
        if not text or text.startswith(_DOCUMENT):
            yield number, []
            continue
        if not width and "\t" in text:
            separator = _TAB
        fields = separator.split(text)
        width = width or len(fields)
        if len(fields) != width:
            raise UserError(
                f"{path}, line {number}: {counted(len(fields), 'column')}, where the lines above have {width}.\n"
                "A line is a token and its tags, separated by spaces or by tabs; an empty line ends a sentence."
            )
        yield number, fields


def _sentences(tokens: Iterator[Record]) -> Iterator[Sentence]:
    start, sentence = 0, list[list[str]]()
    for number, fields in tokens:
        if fields:
            start = start if sentence else number
            sentence.append(fields)
        elif sentence:
            yield start, sentence
            sentence = []
    if sentence:
        yield start, sentence


def _names(path: Path, first: Sentence, column_names: Sequence[str] | None) -> list[str]:
    line, (fields, *_) = first
    width = len(fields)
    if width == 1:
        raise UserError(
            f"{path}, line {line}: one column, where a token and its tag are due; they are separated by spaces or tabs"
        )
    if column_names is None:
        between = [f"tags_{place}" for place in range(2, width)]
        return list(_CONLL_2003) if width == len(_CONLL_2003) else ["tokens", *between, "ner_tags"]
    if len(column_names) != width:
        raise UserError(
            f"data.column_names: {counted(len(column_names), 'name')} ({', '.join(column_names)}), "
            f"but {path}, line {line}, has {counted(width, 'column')}"
        )
    return rows.distinct("data.column_names", column_names)
