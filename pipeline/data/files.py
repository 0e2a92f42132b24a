"""A file of rows as a table, whatever its format.

Every table has a string column `id`, the place of the row: `train.csv:17` for the line where its record starts,
`train.parquet#17` for the 17th row of a format without lines. Every error names that place.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pipeline import project
from pipeline.data import rows
from pipeline.data.arrow_files import read_parquet
from pipeline.data.conll_files import read_conll
from pipeline.data.json_files import read_json
from pipeline.data.plain_files import read_aligned, read_plain
from pipeline.data.text_files import read_records
from pipeline.errors import UserError

_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".txt": "text",
    ".conll": "conll",
}
_SEPARATORS = {"csv": ",", "tsv": "\t"}
_UNNAMED = (*_SEPARATORS, "conll")  # formats that do not name their columns, or need not


def read_file(
    path: Path,
    column_names: Sequence[str] | None = None,
    wanted: rows.Wanted = lambda names: {},
    limit: int | None = None,
    file_format: str | None = None,
    sample_by: str = "line",
) -> pa.Table:
    """The rows of a file.

    Args:
        column_names: the names of all columns, for CSV and TSV without a header, and for CoNLL files.
        wanted: tells from the names of all columns which are wanted.
        limit: take a look: the first rows, about so many, with all columns, whether the wanted ones are there or not.
        file_format: None goes by the ending of the name.
        sample_by: what a row of plain text is.

    Returns:
        `id` and the wanted columns, or all; those of CSV and TSV are strings.

    Raises:
        UserError: the file is not what its format says, is empty, or has a malformed line or a row with another
            number of fields; a wanted column is missing.
    """
    form = file_format or format_of(path)
    short = _short(path)
    if column_names and form not in _UNNAMED:
        raise UserError(f"data.column_names: {path} names its columns itself; set column_names to null")
    if form in _SEPARATORS:
        table = read_records(path, short, _SEPARATORS[form], column_names, wanted, limit)
    elif form == "conll":
        table = read_conll(path, short, column_names, wanted, limit)
    elif form == "text":
        table = read_plain(path, short, sample_by, wanted, limit)
    elif form == "parquet":
        table = read_parquet(path, short, wanted, limit)
    else:
        table = read_json(path, short, wanted, limit)
    return _sourced(table, path)


def read_files(
    paths: Sequence[Path],
    column_names: Sequence[str] | None = None,
    wanted: rows.Wanted = lambda names: {},
    limit: int | None = None,
) -> pa.Table:
    """The rows of aligned files of plain text, a column a file; for the arguments see `read_file`.

    Raises:
        UserError: a file has another number of lines than the others, or there are no names for their columns.
    """
    return _sourced(read_aligned(paths, [_short(path) for path in paths], column_names, wanted, limit), paths[0])


def _short(path: Path) -> str:
    """The name of a file in ids."""
    return path.relative_to(project.RAW).as_posix() if path.is_relative_to(project.RAW) else path.name


def _sourced(table: pa.Table, path: Path) -> pa.Table:
    if not table.num_rows:
        raise UserError(f"{path}: there are no rows in it")
    return rows.with_source(table, path.as_posix())


def format_of(path: Path) -> str:
    """The format that the ending of a file's name says, without `.gz`.

    Raises:
        UserError: no format that is read here has this ending.
    """
    name = path.name.lower().removesuffix(".gz")
    for ending, form in _ENDINGS.items():
        if name.endswith(ending):
            return form
    raise UserError(
        f"{path}: the ending of its name must be one of {', '.join(_ENDINGS)}, each also with .gz;\n"
        "or data.file_format must say what it is"
    )
