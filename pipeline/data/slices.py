"""The raw columns by which evaluation groups rows (`evaluate.slices`): kept beside the prepared rows, not in them.

So another slice changes neither the prepared rows nor the tokens, and trains nothing again.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.rows import require_columns, shown
from pipeline.errors import UserError
from pipeline.params import Evaluate, Params

LABEL, LENGTH = "label", "length"
"""The slices that are no raw columns: by target, and by tokens."""
SPLITS = ("validation", "test")

_KEY = "evaluate.slices"


def raw_columns(settings: Evaluate) -> dict[str, str]:
    """The raw columns that make slices, each with the key that names it."""
    return {name: _KEY for name in settings.slices if name not in (LABEL, LENGTH)}


def check(splits: Mapping[str, pa.Table], texts: Collection[str], params: Params) -> None:
    """Look at the columns of raw tables.

    Args:
        texts: the columns that the model reads.

    Raises:
        UserError: a slice is no column, its values are no text, numbers or truth values, or they are the very texts of
            the rows, which MLflow shall not have.
    """
    columns = raw_columns(params.evaluate)
    if params.evaluate.publish_texts != "mlflow" and (read := set(columns) & set(texts)):
        raise UserError(
            f"{_KEY}: '{min(read)}' is a text column: its texts would be the names of groups, which MLflow gets."
            "\nName another column, or allow it: evaluate.publish_texts: mlflow"
        )
    for table in splits.values():
        for name in columns:
            require_columns(table, [name], _KEY)
            if pa.types.is_nested(table[name].type) or pa.types.is_binary(table[name].type):
                value = table[name][0].as_py() if len(table) else None
                raise UserError(
                    f"{_KEY}: the column '{name}' holds {shown(value)} ({table[name].type}); "
                    "rows are grouped by text, numbers or truth values."
                )


def write(folder: Path, raw: Mapping[str, pa.Table], rows: Mapping[str, pa.Table], settings: Evaluate) -> None:
    """Write the id and the raw columns of every row that evaluation will judge.

    Args:
        raw: the tables of the source, `train` with the rows of every split that it lacks.
        rows: the prepared rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        table = raw.get(split, raw["train"]).select(["id", *raw_columns(settings)]).replace_schema_metadata(None)
        places = pc.index_in(rows[split]["id"], table["id"])
        pq.write_table(table.take(places), folder / f"{split}.parquet")
