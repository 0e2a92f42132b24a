"""Which task the columns of a file make. The tasks know their columns, so none is named here."""

from collections.abc import Mapping

import pyarrow as pa

from pipeline import tasks
from pipeline.data import rows
from pipeline.errors import UserError
from pipeline.params import Data, Params

DEFAULT = Params().task


def is_guessed(task: str) -> bool:
    """Whether a task reads what the default one reads, so that its columns can be guessed whatever they are called."""
    return set(tasks.find(DEFAULT).layouts) <= set(tasks.find(task, "--task").layouts)


def own(table: pa.Table, data: Data) -> dict[str, set[str]]:
    """The tasks by whose own names the columns are called, and that can take what is in them, each with what it reads.

    Of these, those that read the most columns: rows of text and label can train a language model, too.
    """
    names = set(table.column_names)
    named = [task for task in tasks.names() if any(set(one.columns) <= names for one in tasks.find(task).layouts)]
    found = {task: set(tasks.find(task).layout_of(table, data).columns) for task in named if takes(task, table, data)}
    most = max(map(len, found.values()), default=0)
    return {task: columns for task, columns in found.items() if len(columns) == most}


def takes(task: str, table: pa.Table, data: Data) -> bool:
    """Whether a task can take the columns that `data` names, or those that are called as its own."""
    try:
        tasks.find(task).check_columns(table, data)
    except UserError:
        return False
    return True


def the_only(found: Mapping[str, set[str]], table: pa.Table) -> str:
    """The only one of the tasks that `own` found.

    Raises:
        UserError: there are several.
    """
    *others, last = found
    if not others:
        return last
    raise UserError(
        f"{rows.source_of(table)}: {', '.join(sorted(found[last]))} can be rows of {', '.join(others)} and {last}.\n"
        f"Say what is learned, such as --task {last}; or which column is a label: --label-column NAME"
    )


def columns(task: str, table: pa.Table, data: Data) -> tuple[list[str], str | None]:
    """The columns that a task reads, and the one that it is to say, if that is another.

    Raises:
        UserError: one is missing, or holds what the task cannot take.
    """
    cls = tasks.find(task, "--task")
    try:
        cls.check_columns(table, data)
    except UserError as error:
        raise UserError(
            f"{error}\n{task}: --text-column NAME for each column that it reads, in order, and --label-column NAME for "
            "what it is to say."
        ) from None
    found = cls.layout_of(table, data)
    return list(found.texts), found.target
