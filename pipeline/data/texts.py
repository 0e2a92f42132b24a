"""What a model reads of a row that is a text or a pair of texts."""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.data.rows import text_column
from pipeline.errors import UserError

NAMES = ("text", "text_pair")
"""The columns of prepared rows."""


def text_columns(table: pa.Table, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """The texts of a raw table under our names.

    Raises:
        UserError: there are more than two columns; one is missing, or holds what is no text.
    """
    if len(names) > len(NAMES):
        raise UserError(f"data.text_column_names: {len(names)} columns; this task takes a text, or a pair of texts.")
    return {ours: text_column(table, name) for ours, name in zip(NAMES, names, strict=False)}
