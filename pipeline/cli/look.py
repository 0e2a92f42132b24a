"""What somebody's file holds: the task that its columns make, and the files that go with it."""

from collections import Counter
from pathlib import Path

import pyarrow as pa

from pipeline import project, tasks
from pipeline.cli import by_columns, guess
from pipeline.data import sources
from pipeline.data.rows import require_columns
from pipeline.errors import UserError, counted
from pipeline.params import Data

_AS_SAID = "as you say"


def look(path: Path, task: str | None, text: tuple[str, ...], label: str | None) -> guess.Found:
    """Read the head of the file, and guess what the options do not say.

    Args:
        task: what is learned; None guesses it.
        text: the columns that the model reads; empty guesses them.
        label: the column of what it is to say; None guesses it.

    Raises:
        UserError: there is no such task or column, or nothing can be guessed.
    """
    width = guess.columns_without_header(path)
    names = [f"column_{place}" for place in range(1, width + 1)] if width else None
    data = Data(dataset_name=None, train_file=path.as_posix(), column_names=names)
    splits = sources.head(data, guess.ROWS)
    table = splits["train"]
    require_columns(table, text, "--text-column")
    require_columns(table, [label] if label else [], "--label-column")

    if task is not None and not by_columns.is_guessed(task):
        found = _as_the_task_has_it(task, table, data, text, label)
        found.why["task"] = _AS_SAID
    elif task or text or label:
        found = _guessed(table, data, task, text, label)
    else:
        found = _by_columns(table, data)
    if names:
        found.why["data.column_names"] = "the first line looks like a row, not like a header"
    found.why = {"data.train_file": _count(found), **found.why}
    for split in project.SPLITS[1:]:
        _find(split, found, path, split in splits)
    return found


def _by_columns(table: pa.Table, data: Data) -> guess.Found:
    """The task whose own names the columns have, unless they seem to be texts and labels by other names."""
    own = by_columns.own(table, data)
    found = None
    try:
        found = _guessed(table, data, None, (), None)
    except UserError:
        if not own or by_columns.DEFAULT in own:
            raise
    if found is None or (len(own) == 1 and set(found.columns) not in own.values()):
        task = by_columns.the_only(own, table)
        found = _as_the_task_has_it(task, table, data, (), None)
        found.why["task"] = "its columns are there"
    others = [name for name, columns in own.items() if name != found.task and columns == set(found.columns)]
    found.notes += [f"The same columns can be rows of {name}: --task {name}" for name in others]
    return found


def _as_the_task_has_it(
    task: str, table: pa.Table, data: Data, text: tuple[str, ...], label: str | None
) -> guess.Found:
    data = data.model_copy(update={"text_column_names": list(text) or None, "label_column_name": label})
    texts, target = by_columns.columns(task, table, data)
    return guess.Found(task, texts, target, data, table, {})


def _guessed(table: pa.Table, data: Data, task: str | None, text: tuple[str, ...], label: str | None) -> guess.Found:
    """Texts and labels, whatever their columns are called."""
    labels = guess.Guess((label,), _AS_SAID) if label else guess.label_column(table, text, data.column_names is None)
    texts = (
        guess.Guess(text, _AS_SAID) if text else guess.text_columns(table, labels.names[0], data.column_names is None)
    )
    table, data = _named(table, data, texts, labels)
    able = [name for name in tasks.names() if by_columns.is_guessed(name) and by_columns.takes(name, table, data)]
    kind = task or (by_columns.DEFAULT if by_columns.DEFAULT in able or not able else able[0])
    target = str(data.label_column_name)
    if kind == by_columns.DEFAULT:
        guess.check_label(table, target)
    found = guess.Found(kind, data.text_column_names or [], target, data, table, {})
    found.why["task"] = _AS_SAID if task else f"by what the column '{target}' holds"
    found.why["data.text_column_names"] = texts.why
    found.why["data.label_column_name"] = "; ".join(filter(None, (labels.why, _balance(found))))
    return found


def _named(table: pa.Table, data: Data, texts: guess.Guess, labels: guess.Guess) -> tuple[pa.Table, Data]:
    """The table and the params with the guessed columns, which get names if the file has none."""
    new = {name: name for name in table.column_names}
    if data.column_names is not None:
        new |= guess.names_without_header(data.column_names, texts.names, labels.names[0])
    return table.rename_columns(list(new.values())), data.model_copy(
        update={
            "column_names": data.column_names and [new[name] for name in data.column_names],
            "text_column_names": [new[name] for name in texts.names],
            "label_column_name": new[labels.names[0]],
        }
    )


def _balance(found: guess.Found) -> str | None:
    """How often the labels of a classifier come, where a row has one."""
    values = guess.values_of(found.table, str(found.label))
    if found.task != by_columns.DEFAULT or not values:
        return None
    counts = Counter(values).values()
    if len(counts) == 1:
        return f"only one in the first {len(found.table):,} rows: the file seems to be sorted"
    return f"{len(counts):,} labels, {min(counts):,} to {counted(max(counts), 'row')} each"


def _count(found: guess.Found) -> str:
    rows = len(found.table)
    count = counted(rows, "row") if rows < guess.ROWS else f"its first {rows:,} rows were looked at"
    others = [name for name in found.table.column_names if name not in ("id", *found.columns)]
    return f"{count}; columns that are not used: {', '.join(others)}" if others else count


def _find(split: str, found: guess.Found, path: Path, inside: bool) -> None:
    """Choose the file of validation or test: one beside the training file that fits, or none."""
    key = f"{split}_file"
    other = guess.siblings(path).get(split)
    misfit = other and _misfit(found, other)
    if inside:
        found.why[f"data.{key}"] = f"{path} holds this split"
    elif other and not misfit:
        found.data = found.data.model_copy(update={key: other.as_posix()})
        found.why[f"data.{key}"] = "found beside it"
    else:
        percentage = getattr(found.data, f"{split}_split_percentage")
        found.why[f"data.{key}"] = f"none found; {percentage}% of the rows are cut off for it"
        found.notes += [f"{other} is not taken as {key}: {misfit}"] if misfit else []


def _misfit(found: guess.Found, other: Path) -> str | None:
    """Why a file does not go with the training file; None if it does."""
    if (guess.columns_without_header(other) is None) != (found.data.column_names is None):
        return "only one of the two has a header."
    try:
        table = sources.head(found.data.model_copy(update={"train_file": other.as_posix()}), guess.ROWS)["train"]
        require_columns(table, found.columns, "its columns")
        tasks.find(found.task).check_columns(table, found.data)
    except UserError as error:
        return str(error)
    known = set(guess.values_of(found.table, found.label)) if found.label else set()
    if found.task != by_columns.DEFAULT or not known or known.intersection(guess.values_of(table, str(found.label))):
        return None
    return "it shows none of the training rows' labels."
