"""From the columns of a source to the rows of a task, and what these rows show."""

import dataclasses
import json
from abc import ABC
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa

from pipeline.data.rows import Wanted, require_columns, text_column
from pipeline.errors import UserError
from pipeline.params import Data
from pipeline.tasks.base.layout import Layout, choose

_STATE = "task.json"
_ASKED = ("A short text that somebody might ask about.", "And the text that belongs to it.")


@dataclass(frozen=True)
class RowReader(ABC):
    """The part of a task that knows the data. Its fields are all that it has learned of them.

    Attributes:
        layouts: the columns where the params name none, the first that a source has.
        labels: the names of the labels; a label's id is its place. Empty where a task has none.
        inputs: the columns of prepared rows that the model reads, and whoever asks it must give.
    """

    layouts: ClassVar[tuple[Layout, ...]]
    labels: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("text",)

    # The columns of a source

    @classmethod
    def layout(cls, names: Sequence[str], data: Data) -> Layout:
        """The columns of a source to read: those that the params name, and the task's own for the rest.

        Args:
            names: the columns that the source has.
        """
        return choose(cls.layouts, names, data)

    @classmethod
    def wanted(cls, data: Data) -> Wanted:
        """Which columns of a source are read."""
        return lambda names: cls.layout([name for name in names if name != "id"], data).columns

    @classmethod
    def layout_of(cls, table: pa.Table, data: Data) -> Layout:
        """The columns of a raw table that are read.

        Raises:
            UserError: one is missing.
        """
        found = cls.layout([name for name in table.column_names if name != "id"], data)
        for name, key in found.columns.items():
            require_columns(table, [name], key)
        return found

    @classmethod
    def check_columns(cls, table: pa.Table, data: Data) -> None:
        """Raise a UserError if a column of a raw table is missing, or holds what the task cannot take.

        By default a task takes one column, of texts.
        """
        texts = cls.layout_of(table, data).texts
        if len(texts) > 1:
            raise UserError(f"data.text_column_names: {len(texts)} columns; this task takes one, of texts.")
        text_column(table, texts[0])

    @classmethod
    def fit(cls, tables: Mapping[str, pa.Table], data: Data) -> Self:
        """The task with what the rows show, such as the labels of the training rows; by default nothing.

        It may be a subclass, where the kind of a column decides.

        Args:
            tables: raw tables of the splits that the source has, each with a string column `id` that says where the
                row stands.

        Raises:
            UserError: as in `check_columns`, or the rows do not make this task.
        """
        for table in tables.values():
            cls.check_columns(table, data)
        return cls()

    # Prepared rows, and what they show

    def rows(self, table: pa.Table, data: Data) -> pa.Table:
        """A raw table under the task's own names, in its order: `id` (string), the columns of `inputs`, the target.

        A target that is one of `labels` stands in the column `label` (int32).

        Raises:
            UserError: a value is not what the task can take.
        """
        (name,) = self.layout_of(table, data).texts
        return pa.table({"id": table["id"], "text": text_column(table, name)})

    def texts(self, rows: pa.Table) -> list[tuple[str, ...]]:
        """What the model reads of each row: rows with the same texts are the same question."""
        return list(zip(*(rows[name].to_pylist() for name in self.inputs), strict=True))

    def groups(self, rows: pa.Table) -> Sequence[tuple[str, ...]]:
        """What keeps rows together where splits are cut: those with the same texts fall into the same split."""
        return self.texts(rows)

    def strata(self, rows: pa.Table) -> Sequence[Hashable]:
        """The group of each row; a split that is cut off has its share of every group."""
        return rows["label"].to_pylist() if self.labels and "label" in rows.column_names else [None] * len(rows)

    def seen(self, train: pa.Table) -> Self:
        """The task with what the prepared rows that it is trained on show, such as how many of them each label has."""
        return self

    # What was learned, kept beside the rows (prepare), and with the model (train)

    def state(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Self:
        """The task with these fields, as `state` gives them."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in state.items()
        }
        return cls(**values)

    def save(self, folder: Path) -> None:
        """Keep the fields beside the prepared rows."""
        text = json.dumps(self.state(), indent=0, ensure_ascii=False)
        (folder / _STATE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The task that `save` kept."""
        return cls.of_state(json.loads((folder / _STATE).read_text(encoding="utf-8")))

    # Rows of somebody who asks (predict, serve)

    def example(self) -> dict[str, Any]:
        """A row that somebody might ask, written here and not taken from the data: it shows what each column takes.

        That is a text; a list of words, or a text that has them; or messages, or a text that a user says. A text that
        is empty here may be so elsewhere.
        """
        return dict(zip(self.inputs, chain(_ASKED, repeat(_ASKED[0])), strict=False))

    @classmethod
    def unanswered(cls, rows: pa.Table) -> pa.Table:
        """Rows of somebody who asks, with something in place of the target, which nobody knows."""
        return rows
