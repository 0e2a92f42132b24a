"""Rows of files that are larger than memory, read and written chunk by chunk: CSV, TSV, JSONL and Parquet.

A row is a dictionary from columns to values: texts in CSV and TSV, JSON values in JSONL, Parquet's own in Parquet.
"""

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data import text_files
from pipeline.data.rows import distinct
from pipeline.errors import UserError, counted, first_line
from pipeline.serving.asking import Row

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def ending(path: Path) -> str:
    """The format of a file, as its name ends.

    Raises:
        UserError: it is none of those that there are.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UserError(f"{path}: the name must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    return path.suffix.lower()


def chunks(path: Path, size: int) -> Iterator[list[Row]]:
    """The rows of a file in their order, `size` at a time.

    Raises:
        UserError: the file cannot be read, or a row does not fit; the message names its line.
    """
    rows = {".jsonl": _json_rows, ".parquet": _parquet_rows}.get(ending(path), _text_rows)(path)
    while chunk := list(islice(rows, size)):
        yield chunk


def columns(path: Path) -> list[str]:
    """The names of the columns; of JSONL the keys of its first row.

    Raises:
        UserError: the file cannot be read, or has no row.
    """
    if ending(path) == ".parquet":
        return [str(name) for name in _parquet(path).schema_arrow.names]
    first = next(chunks(path, 1), None)
    if first is None:
        raise UserError(f"{path}: has no row")
    return list(first[0])


def schema(path: Path, names: Sequence[str]) -> pa.Schema:
    """The types of the columns of these names: Parquet's own, and texts elsewhere."""
    if ending(path) == ".parquet":
        return _parquet(path).schema_arrow
    return pa.schema([(name, pa.string()) for name in names])


def write(path: Path, rows: Sequence[Row], types: pa.Schema) -> None:
    """Write a chunk of rows, as a file of its own that `join` takes.

    Args:
        types: the columns in their order, with their types, which Parquet has; JSONL keeps each row's own columns.
    """
    kind = ending(path)
    if kind == ".parquet":
        texts = {field.name for field in types if field.type == pa.string()}
        values = [
            {name: _text(row.get(name)) if name in texts else row.get(name) for name in types.names} for row in rows
        ]
        pq.write_table(pa.Table.from_pylist(values, schema=types), path)
    elif kind == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8", newline="\n")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            _write_lines(file, kind, ([_text(row.get(name)) or "" for name in types.names] for row in rows))


def join(parts: Sequence[Path], path: Path, names: Sequence[str]) -> None:
    """Make one file of chunks that `write` wrote, chunk by chunk."""
    kind = ending(path)
    if kind == ".parquet":
        with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
        return
    with path.open("wb") as whole:
        if kind in _SEPARATORS:
            header = path.with_name(f"{path.name}.header")
            with header.open("w", encoding="utf-8", newline="") as file:
                _write_lines(file, kind, [list(names)])
            whole.write(header.read_bytes())
            header.unlink()
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)


def _write_lines(file: Any, kind: str, lines: Iterable[Sequence[str]]) -> None:
    if kind == ".csv":
        csv.writer(file, lineterminator="\n").writerows(lines)
        return
    for line in lines:
        # No field of TSV can hold a tab or the end of a line.
        file.write("\t".join(" ".join(field.splitlines()).replace("\t", " ") for field in line) + "\n")


def _text(value: Any) -> str | None:
    """A value as a text, as CSV has nothing else."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _text_rows(path: Path) -> Iterator[Row]:
    separator = _SEPARATORS[ending(path)]
    records = text_files.csv_records(path) if separator == "," else text_files.tsv_records(path)
    header = next(records, None)
    if header is None:
        raise UserError(f"{path}: is empty")
    names = distinct(path.as_posix(), [name.strip() for name in header[1]])
    for line, fields in records:
        if len(fields) != len(names):
            raise UserError(f"{path}, line {line}: {counted(len(fields), 'field')}, where the header has {len(names)}")
        yield dict(zip(names, fields, strict=True))


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(text_files.lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: is no JSON ({first_line(error)})") from None
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number}: is no object; a line is {{"text": "..."}}')
        yield row


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        for batch in _parquet(path).iter_batches():
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: is damaged ({first_line(error)})") from None


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        # With buffers ahead, pyarrow holds all that it has read of the file.
        return pq.ParquetFile(path, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({first_line(error)})") from None
