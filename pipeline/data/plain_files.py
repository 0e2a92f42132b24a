"""Files of plain text as tables: a row a line, a paragraph or a document, or aligned files with a column each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import pyarrow as pa

from pipeline.data import rows
from pipeline.data.text_files import lines
from pipeline.errors import UserError, counted

_ENDINGS = (".gz", ".txt")

Passage = tuple[int, str]
"""The line where a text starts, and the text."""


def read_plain(path: Path, short: str, sample_by: str, wanted: rows.Wanted, limit: int | None) -> pa.Table:
    """The column `text` of a file; for the arguments see `files.read_file`.

    Args:
        sample_by: what a row is: a `line`, a `paragraph` (empty lines are between two of them), or the `document`.
            White space around it is no part of it, and what is empty then is left out.
    """
    numbered: Iterator[Passage] = enumerate(lines(path), 1)
    passages = numbered if sample_by == "line" else _paragraphs(numbered, sample_by == "document")
    found = [(line, text) for line, text in islice(_stripped(passages), limit)]
    columns = {"text": [text for _, text in found]}
    return _table(path, [f"{short}:{line}" for line, _ in found], columns, wanted, limit)


def _stripped(passages: Iterable[Passage]) -> Iterator[Passage]:
    for line, text in passages:
        if stripped := text.strip():
            yield line, stripped


def _paragraphs(numbered: Iterable[Passage], whole: bool) -> Iterator[Passage]:
    """Lines together up to the next empty one, or all of them."""
    start, together = 1, list[str]()
    for number, line in numbered:
        if line.strip() or (whole and together):
            start = start if together else number
            together.append(line)
        elif together:
            yield start, "".join(together)
            together = []
    yield start, "".join(together)


def read_aligned(
    paths: Sequence[Path],
    shorts: Sequence[str],
    column_names: Sequence[str] | None,
    wanted: rows.Wanted,
    limit: int | None,
) -> pa.Table:
    """Files whose lines belong together, such as a text and its translation: a column for each file.

    A column is named by `column_names` or by the ending of the file's name, as `en` of `train.en.gz`. Lines that are
    empty in all files are left out. For the arguments see `files.read_file`.

    Raises:
        UserError: the files have different numbers of lines, or no names for their columns.
    """
    names = _languages(paths, column_names)
    found: list[tuple[int, tuple[str, ...]]] = []
    for number, together in enumerate(islice(zip_longest(*map(lines, paths)), limit), 1):
        if None in together:
            raise _unequal(paths)
        texts = tuple(line.strip() for line in together)
        if any(texts):
            found.append((number, texts))
    columns = {name: [texts[place] for _, texts in found] for place, name in enumerate(names)}
    return _table(paths[0], [f"{shorts[0]}:{line}" for line, _ in found], columns, wanted, limit)


def _languages(paths: Sequence[Path], column_names: Sequence[str] | None) -> list[str]:
    """The names of the columns."""
    listed = ", ".join(path.as_posix() for path in paths)
    if column_names is not None:
        if len(column_names) != len(paths):
            raise UserError(
                f"data.column_names: {counted(len(column_names), 'name')} for {len(paths)} files ({listed})"
            )
        return rows.distinct("data.column_names", column_names)
    names = []
    for path in paths:
        endings = [ending for ending in path.suffixes if ending.lower() not in _ENDINGS]
        names.append(endings[-1].removeprefix(".") if endings else "")
    if "" in names or len(set(names)) < len(names):
        raise UserError(
            f"{listed}: the files of aligned texts are told apart by endings such as .en and .de.\n"
            "Rename them, or set data.column_names to a name for each."
        )
    return names


def _unequal(paths: Sequence[Path]) -> UserError:
    counts = ", ".join(f"{path} has {sum(1 for _ in lines(path)):,} lines" for path in paths)
    return UserError(f"The lines of aligned texts belong together, one to one, but {counts}.")


def _table(
    path: Path, ids: Sequence[str], columns: Mapping[str, Sequence[str]], wanted: rows.Wanted, limit: int | None
) -> pa.Table:
    names = rows.kept(path.as_posix(), list(columns), wanted, limit is not None)
    chosen = {"id": ids, **{name: columns[name] for name in names}}
    return pa.table(chosen, schema=pa.schema([(name, pa.string()) for name in chosen]))
