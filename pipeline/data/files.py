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
from pipeline.data.json_files import read_json
from pipeline.data.text_files import read_records
from pipeline.errors import UserError

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_ENDINGS = (*_SEPARATORS, ".json", ".jsonl", ".parquet")


def read_file(
    path: Path,
    column_names: Sequence[str] | None = None,
    wanted: rows.Wanted = lambda names: {},
    limit: int | None = None,
) -> pa.Table:
    """The rows of a file.

    Args:
        column_names: the names of all columns, for CSV and TSV without a header.
        wanted: tells from the names of all columns which are wanted.
        limit: take a look: the first rows, about so many, with all columns, whether the wanted ones are there or not.

    Returns:
        `id` and the wanted columns, or all; those of CSV and TSV are strings.

    Raises:
        UserError: the file is not what its ending says, is empty, or has a malformed line or a row with another
            number of fields; a wanted column is missing.
    """
    ending = ending_of(path)
    short = path.relative_to(project.RAW).as_posix() if path.is_relative_to(project.RAW) else path.name
    if ending in _SEPARATORS:
        table = read_records(path, short, _SEPARATORS[ending], column_names, wanted, limit)
    elif column_names:
        raise UserError(f"data.column_names: {path} names its columns itself; set column_names to null")
    elif ending == ".parquet":
        table = read_parquet(path, short, wanted, limit)
    else:
        table = read_json(path, short, wanted, limit)
    if not table.num_rows:
        raise UserError(f"{path}: there are no rows in it")
    return rows.with_source(table, path.as_posix())


def ending_of(path: Path) -> str:
    """The ending of a file's name that says its format, without `.gz`.

    Raises:
        UserError: no format that is read here has this ending.
    """
    name = path.name.lower().removesuffix(".gz")
    for ending in _ENDINGS:
        if name.endswith(ending):
            return ending
    raise UserError(f"{path}: the ending of its name must be one of {', '.join(_ENDINGS)}, each also with .gz")
