"""Parquet files, and the datasets of the `datasets` library, as tables with the names of their classes."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data import rows
from pipeline.data.text_files import intact, open_file
from pipeline.errors import UserError

_HUGGING_FACE = b"huggingface"
_LISTS = ("List", "LargeList", "Sequence")


def read_parquet(path: Path, short: str, wanted: rows.Wanted, limit: int | None) -> pa.Table:
    """The rows of a Parquet file; for the arguments see `files.read_file`.

    Raises:
        UserError: it is no Parquet file; two columns have one name; text is not UTF-8.
    """
    name = path.as_posix()
    with open_file(path) as file:
        content = b"".join(intact(path, file)) if path.name.lower().endswith(".gz") else None
    if content == b"" or path.stat().st_size == 0:
        raise UserError(f"{name}: is empty")
    try:
        parquet = pq.ParquetFile(path if content is None else pa.BufferReader(content))
        columns = rows.kept(name, rows.distinct(name, parquet.schema_arrow.names), wanted, limit is not None)
        table = parquet.read_row_groups(_first_groups(parquet.metadata, limit), columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: is no intact Parquet file ({str(error).splitlines()[0]})") from None
    return with_ids(name, short, table.slice(0, limit))


def _first_groups(metadata: pq.FileMetaData, limit: int | None) -> list[int]:
    """The row groups that the first `limit` rows lie in: fewer rows than that are then all rows of the file."""
    groups = range(metadata.num_row_groups)
    begins = accumulate((metadata.row_group(group).num_rows for group in groups), initial=0)
    return [group for group, begin in zip(groups, begins, strict=False) if limit is None or begin < limit]


def from_dataset(dataset: Any, name: str, short: str, wanted: rows.Wanted, limit: int | None) -> pa.Table:
    """The rows of a `datasets.Dataset`.

    Args:
        name: the dataset and its split, for messages.
        short: what stands before the row's number in ids.
    """
    columns = rows.kept(name, dataset.column_names, wanted, limit is not None)
    chosen = dataset.select_columns(columns).select(range(min(len(dataset), limit or len(dataset))))
    return rows.with_source(with_ids(name, short, chosen.with_format("arrow")[:]), name)


def with_ids(name: str, short: str, table: pa.Table) -> pa.Table:
    """The same rows with an `id` each, and with the names of classes in place of their numbers.

    Raises:
        UserError: text is not UTF-8.
    """
    classes = _class_names(table.schema)
    columns = {"id": pa.array([f"{short}#{row}" for row in range(1, len(table) + 1)], pa.string())}
    for column in table.column_names:
        values = table[column]
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise UserError(f"{name}: the column '{column}' holds text that is not UTF-8") from None
        columns[column] = _named(values, classes[column]) if column in classes else values
    return pa.table(columns)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of the classes by column, which `datasets` keeps in the metadata of Arrow and Parquet.

    A column of lists, such as the tags of a sentence, has them as well.
    """
    if not schema.metadata or _HUGGING_FACE not in schema.metadata:
        return {}
    features = json.loads(schema.metadata[_HUGGING_FACE]).get("info", {}).get("features") or {}
    items = {column: _item(feature) for column, feature in features.items()}
    return {column: item["names"] for column, item in items.items() if item.get("_type") == "ClassLabel"}


def _item(feature: Any) -> dict[str, Any]:
    """What stands in the lists of a feature, or the feature itself."""
    if isinstance(feature, list):  # how older versions write a list
        return _item(feature[0])
    return _item(feature["feature"]) if feature.get("_type") in _LISTS else dict(feature)


def _named(numbers: pa.ChunkedArray, names: list[str]) -> pa.Array:
    """Class names for class numbers; `datasets` writes -1 where there is no label, which is null here."""
    known = range(len(names))

    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(item) for item in value]
        return names[value] if value in known else None

    return pa.array([named(value) for value in numbers.to_pylist()], _with_names(numbers.type))


def _with_names(kind: pa.DataType) -> pa.DataType:
    """The type of a column of class numbers, or of lists of them, once they are names."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return pa.list_(_with_names(kind.value_type)) if is_list else pa.string()
