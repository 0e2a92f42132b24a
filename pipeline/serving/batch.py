"""Answers to a file of rows that may be larger than memory, and that a killed run goes on with.

The answers of each chunk of rows become a file of their own, written beside the output and then renamed, so a chunk is
there whole or not at all. A run that finds such files of the same input and the same model goes on behind them. When
all are there they become the output, again by a rename.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import digest, json_file
from pipeline.errors import UserError, counted, did_you_mean
from pipeline.progress import bar
from pipeline.serving import asking, tables
from pipeline.serving.asking import Row
from pipeline.serving.predictor import Predictor

CHUNK = 4096
"""Rows that are in memory at once."""
Asked = dict[str, tuple[str, Any]]
"""What the model reads, by the task's own names: the column of the input, and the value of the task's example."""

_TAKEN = "predicted_"
_KINDS = {str: pa.string(), float: pa.float64(), int: pa.int64()}


@dataclass(frozen=True)
class Work:
    """What the chunks beside an output belong to; of another input or model they are of no use.

    Attributes:
        input: SHA-256 of the input file.
        model: SHA-256 of the exported model (`digest.of_folder`).
        columns: what is asked, in the task's order.
        chunk: rows of a chunk.
    """

    input: str
    model: str
    columns: tuple[str, ...]
    chunk: int


@dataclass(frozen=True)
class Done:
    """What a run did.

    Attributes:
        rows: of the output.
        resumed: how many of them an earlier run had answered.
        unanswered: how many ask nothing, as their text is empty, and so have no answer.
    """

    rows: int
    resumed: int
    unanswered: int


def predict(
    predictor: Predictor, model: Path, source: Path, output: Path, columns: Sequence[str] = (), chunk: int = CHUNK
) -> Done:
    """Write the rows of a file with the model's answers behind them, in the order of the rows.

    A row whose text is empty gets no answer. A list or an object in an answer is a text of JSON where the format has
    none; numbers are a list in Parquet, too. An answer whose name a column of the input has already is called
    `predicted_` and that name.

    Args:
        model: the folder that the predictor was loaded from.
        source: a .csv, .tsv, .jsonl or .parquet file; so is the output.
        columns: those of the input that hold what the model reads, in its order; without any, those of its own names.

    Raises:
        UserError: a file cannot be read or written, or a column is missing or holds what the task does not take.
    """
    tables.ending(output)
    if source.resolve() == output.resolve():
        raise UserError(f"{output} is the input: the output would take its place. Name another.")
    asked = _asked_columns(source, predictor.task.example(), columns)
    rows, unanswered, there = _looked_through(source, asked)
    work = Work(digest.of_file(source), digest.of_folder(model), tuple(name for name, _ in asked.values()), chunk)
    folder = output.with_name(f"{output.name}.parts")
    done = _resume(folder, work)
    (example,) = predictor.ask([asking.of_example(predictor.task.example())])
    called = {name: f"{_TAKEN}{name}" if name in there else name for name in example}
    kinds = [pa.field(called[name], _type(value)) for name, value in example.items()]
    types = pa.schema([*tables.schema(source, there), *kinds])
    parts = []
    with bar("predict", rows, min(done * chunk, rows)) as progress:
        for place, some in enumerate(tables.chunks(source, chunk)):
            part = folder / f"{place:08d}{output.suffix.lower()}"
            parts.append(part)
            if place >= done:
                answered = _answered(predictor, some, asked, called)
                _whole(part, lambda draft, rows=answered: tables.write(draft, rows, types))
                progress.advance(len(some))
    _whole(output, lambda draft: tables.join(parts, draft, types.names))
    shutil.rmtree(folder)
    return Done(rows, min(done * chunk, rows), unanswered)


def _asked_columns(source: Path, example: Row, columns: Sequence[str]) -> Asked:
    names = list(columns) or list(example)
    if len(names) != len(example):
        raise UserError(
            f"This model reads {', '.join(example)}: name {counted(len(example), 'column')}, in "
            f"that order, not {len(names)}."
        )
    there = tables.columns(source)
    for name, (ours, like) in zip(names, example.items(), strict=True):
        if name not in there:
            which = asking.kind(like) if len(example) == 1 else ours
            raise UserError(
                f"{source}: there is no column '{name}'; there are {', '.join(there)}.{did_you_mean(name, there)}\n"
                f"Say which column holds the {which}: --column NAME"
            )
    return {ours: (name, like) for name, (ours, like) in zip(names, example.items(), strict=True)}


def _looked_through(source: Path, asked: Asked) -> tuple[int, int, list[str]]:
    """How many rows there are, how many of them ask nothing, and all columns: of JSONL each row may have its own.

    What is wrong shows here, before hours of work.
    """
    count = unanswered = 0
    there: dict[str, None] = {}
    for some in tables.chunks(source, CHUNK):
        for row in some:
            count += 1
            there |= dict.fromkeys(row)
            if _is_blank(row, asked):
                unanswered += 1
            for name, like in asked.values():
                if not asking.is_blank(row.get(name), like):
                    try:
                        asking.settled(row.get(name), like)
                    except ValueError as error:
                        raise UserError(f"{source}, row {count}: the column '{name}' {error}.") from None
    if count == 0:
        raise UserError(f"{source}: has no row")
    return count, unanswered, list(there)


def _is_blank(row: Row, asked: Asked) -> bool:
    return any(asking.is_blank(row.get(name), like) for name, like in asked.values())


def _settled(row: Row, asked: Asked) -> Row:
    """What a row asks, under the task's own names."""
    return {ours: asking.settled(row.get(name), like) for ours, (name, like) in asked.items()}


def _resume(folder: Path, work: Work) -> int:
    """How many chunks are done; those of other work, or broken off, are removed."""
    description = folder / "work.json"
    try:
        values = json.loads(description.read_text(encoding="utf-8"))
        same = Work(**values | {"columns": tuple(values["columns"])}) == work
    except (OSError, ValueError, TypeError, KeyError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        _whole(description, lambda draft: json_file.write(draft, asdict(work)))
    done = {int(path.stem) for path in folder.iterdir() if path.stem.isdigit()}
    return next(place for place in range(len(done) + 1) if place not in done)


def _type(value: Any) -> pa.DataType:
    """What Parquet keeps a part of an answer as, of which this is an example."""
    numbers = isinstance(value, list) and value and all(isinstance(number, float) for number in value)
    return pa.list_(pa.float64()) if numbers else _KINDS.get(type(value), pa.string())


def _answered(predictor: Predictor, rows: Sequence[Row], asked: Asked, called: dict[str, str]) -> list[Row]:
    answers = iter(predictor.ask([_settled(row, asked) for row in rows if not _is_blank(row, asked)]))
    found = []
    for row in rows:
        answer = {} if _is_blank(row, asked) else next(answers)
        found.append(row | {column: answer.get(name) for name, column in called.items()})
    return found


def _whole(path: Path, write: Any) -> None:
    """Let a file be written beside its place, and put it there when it is on the disk."""
    draft = path.with_name(f"unfinished-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}). What is done so far is kept.") from None
