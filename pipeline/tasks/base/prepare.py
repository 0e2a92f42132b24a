"""From raw tables to the rows of a task in three splits."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.data import splits
from pipeline.data.audit import decontaminate
from pipeline.data.rows import source_of, with_source
from pipeline.data.targets import label_ids
from pipeline.errors import UserError
from pipeline.params import Data
from pipeline.tasks.base.task import Task


def prepare_rows(
    kind: type[Task], tables: Mapping[str, pa.Table], data: Data
) -> tuple[Task, dict[str, pa.Table], dict[str, pa.Table]]:
    """The task, its rows in three splits, and the same without what training shares with the evaluation splits.

    Args:
        kind: the class of the task.
        tables: raw tables, as `Task.fit` takes them.

    Raises:
        UserError: as in `Task.fit`, `Task.rows` and `splits.cut`, or a label has no training row left.
    """
    task = kind.fit(tables, data)
    rows = {split: with_source(task.rows(table, data), source_of(table)) for split, table in tables.items()}
    cut = splits.cut(rows, task.groups, task.strata, data)
    before = {split: table.replace_schema_metadata(None) for split, table in cut.items()}
    after = decontaminate(before, task.texts) if data.decontaminate_train else before
    if task.labels and "label" in after["train"].column_names:
        _check_labels(task.labels, after["train"])
    return task.seen(after["train"]), before, after


def _check_labels(labels: Sequence[str], train: pa.Table) -> None:
    if lost := set(range(len(labels))) - set(label_ids(train["label"])):
        raise UserError(
            f"data.decontaminate_train: all training rows of the label '{labels[min(lost)]}' stand in "
            "validation or test, too, so none is left.\nAdd other rows with it, or set the key to false."
        )
