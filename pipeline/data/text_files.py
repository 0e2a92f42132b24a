"""Text files as lines, and CSV (RFC 4180) and TSV (IANA text/tab-separated-values) as tables of strings."""

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from pipeline.data import rows
from pipeline.errors import UserError, counted

ROWS_A_CHUNK = 10_000
_LARGEST_FIELD = 2**31 - 1
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_RULES = {",": " (a field that holds a comma needs quotes around it)", "\t": " (no field can hold a tab)"}
_UTF16 = "is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8 OLD > NEW)"
_OTHER_FORMATS = {
    b"\x1f\x8b": "is compressed with gzip; add .gz to its name",
    b"PAR1": "is a Parquet file; its name must end in .parquet",
    b"PK\x03\x04": "is an Excel or zip file; save the sheet as CSV (UTF-8), or unpack it",
    codecs.BOM_UTF16_LE: _UTF16,
    codecs.BOM_UTF16_BE: _UTF16,
}

Record = tuple[int, list[str]]
"""The line where a record starts, and its fields."""


def open_file(path: Path) -> IO[bytes]:
    """The bytes of a file, plain or .gz.

    Raises:
        UserError: it cannot be opened.
    """
    try:
        return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def intact(path: Path, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same chunks.

    Raises:
        UserError: a compressed file is damaged.
    """
    try:
        yield from chunks
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: its name ends in .gz, but it is no intact gzip file ({error})") from None


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, without a byte order mark.

    Raises:
        UserError: there are bytes that are no text; the message names their line.
    """
    with open_file(path) as file:
        for number, raw in enumerate(intact(path, file), 1):
            if number == 1:
                _refuse_other_formats(path, raw)
                raw = raw.removeprefix(codecs.BOM_UTF8)
            if b"\0" in raw:
                raise UserError(f"{path}, line {number}: there is a NUL byte in it, so this is no text file")
            try:
                yield raw.decode()
            except UnicodeDecodeError as error:
                column = len(raw[: error.start].decode()) + 1
                raise UserError(
                    f"{path}, line {number}, column {column}: the byte 0x{raw[error.start]:02x} is not UTF-8.\n"
                    "Save the file as UTF-8; one from Windows: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
                ) from None


def _refuse_other_formats(path: Path, start: bytes) -> None:
    for magic, message in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise UserError(f"{path}: {message}")


def csv_records(path: Path) -> Iterator[Record]:
    """The records of a CSV file; empty lines are skipped.

    Raises:
        UserError: the quotes do not fit.
    """
    csv.field_size_limit(_LARGEST_FIELD)
    reader = csv.reader(lines(path), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise UserError(f"{path}, line {start}: {_explain(str(error), start, reader.line_num)}") from None
        if fields is None:
            return
        if fields:
            yield start, fields


def _explain(error: str, start: int, line: int) -> str:
    """What an error of Python's csv module means to the writer of the file."""
    if error == "unexpected end of data":
        return "a quote opens in this row and is never closed"
    if "expected after" in error:
        where = "" if line == start else f" in line {line}"
        return (
            f"a quoted field of this row goes on behind its closing quote{where}.\n"
            'Either a quote is not closed, or one inside quotes is not doubled: "he said ""yes"""'
        )
    if "new-line character" in error:
        return "its line ends are lone carriage returns; save the file with Unix or Windows line ends"
    return error


def tsv_records(path: Path) -> Iterator[Record]:
    """The records of a TSV file, in which a quote is a character like others; empty lines are skipped."""
    for number, line in enumerate(lines(path), 1):
        if text := line.rstrip("\r\n"):
            yield number, text.split("\t")


def read_records(
    path: Path,
    short: str,
    separator: str,
    column_names: Sequence[str] | None,
    wanted: rows.Wanted,
    limit: int | None,
) -> pa.Table:
    """The rows of a CSV or TSV file, all columns strings; for the arguments see `files.read_file`.

    Args:
        short: the file's name in ids.
        separator: a comma or a tab.
    """
    records = csv_records(path) if separator == "," else tsv_records(path)
    first = next(records, None)
    if first is None:
        raise UserError(f"{path}: is empty")
    line = first[0]
    names = _names(path, first, separator, column_names)
    if column_names is None:
        first = next(records, None)
        if first is None:
            raise UserError(f"{path}: line {line} is the header, and no row follows")
    columns = {name: names.index(name) for name in rows.kept(path.as_posix(), names, wanted, limit is not None)}
    schema = pa.schema([(name, pa.string()) for name in ("id", *columns)])
    checked = islice(_same_width(path, chain([first], records), separator, len(names)), limit)
    tables = []
    while chunk := list(islice(checked, ROWS_A_CHUNK)):
        values = [[f"{short}:{line}" for line, _ in chunk]]
        values += [[fields[place] for _, fields in chunk] for place in columns.values()]
        tables.append(pa.table(values, schema=schema))
    return pa.concat_tables(tables)


def _names(path: Path, first: Record, separator: str, column_names: Sequence[str] | None) -> list[str]:
    """The names of the columns: those given, or the first record's."""
    line, fields = first
    found = [field.strip() for field in fields]
    if column_names:
        if len(column_names) != len(fields):
            raise UserError(
                f"data.column_names: {counted(len(column_names), 'name')} ({', '.join(column_names)}), "
                f"but {path}, line {line}, has {counted(len(fields), 'field')}"
            )
        if found == list(column_names):
            raise UserError(
                f"{path}, line {line}: has the names of data.column_names, so it is a header; set column_names to null"
            )
        return rows.distinct("data.column_names", column_names)
    if len(found) == 1 and (other := next((mark for mark in _SEPARATORS if mark in found[0]), None)):
        raise UserError(
            f"{path}, line {line}: the fields seem to be separated by {_SEPARATORS[other]}, not by "
            f"{_SEPARATORS[separator]}.\n{_ways_out(other)}"
        )
    return rows.distinct(path.as_posix(), [name or f"unnamed_{place}" for place, name in enumerate(found, 1)])


def _ways_out(separator: str) -> str:
    """What to do with a file that has this separator and the ending of another."""
    if (form := {",": "csv", "\t": "tsv"}.get(separator)) is None:
        return "Save it with commas (and quotes around a field that holds one), as .csv; or with tabs, as .tsv."
    return f"Rename it to end in .{form}, or set data.file_format: {form}"


def _same_width(path: Path, records: Iterable[Record], separator: str, width: int) -> Iterator[Record]:
    for line, fields in records:
        if len(fields) != width:
            found = counted(len(fields), "field")
            raise UserError(f"{path}, line {line}: {found}, where the lines above have {width}{_RULES[separator]}")
        yield line, fields
