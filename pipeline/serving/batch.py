"""Answers to a file of texts that may be larger than memory, and that a killed run goes on with.

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
from pipeline.errors import UserError, did_you_mean
from pipeline.progress import bar
from pipeline.serving import card, tables
from pipeline.serving.predictor import Predictor
from pipeline.serving.tables import Row
from pipeline.tasks.base import Answer

CHUNK = 4096
"""Rows that are in memory at once."""
_TAKEN = "predicted_"
_KINDS = {str: pa.string(), float: pa.float64()}


@dataclass(frozen=True)
class Work:
    """What the chunks beside an output belong to; of another input or model they are of no use.

    Attributes:
        input: SHA-256 of the input file.
        model: SHA-256 of the exported model (`digest.of_folder`).
        columns: the columns of the texts.
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
        unanswered: how many have an empty text, and so no answer.
    """

    rows: int
    resumed: int
    unanswered: int


def predict(
    predictor: Predictor, model: Path, source: Path, output: Path, columns: Sequence[str] = (), chunk: int = CHUNK
) -> Done:
    """Write the rows of a file with the model's answers behind them, in the order of the rows.

    A row whose text is empty gets no answer. An answer whose name a column of the input has already is called
    `predicted_` and that name.

    Args:
        model: the folder that the predictor was loaded from.
        source: a .csv, .tsv, .jsonl or .parquet file; so is the output.
        columns: the columns of the texts; without any, `text` and, for pairs, `text_pair`.

    Raises:
        UserError: a file cannot be read or written, or a column is missing or holds what is no text.
    """
    tables.ending(output)
    if source.resolve() == output.resolve():
        raise UserError(f"{output} is the input: the output would take its place. Name another.")
    names = _text_columns(source, predictor.card, columns)
    rows, unanswered, there = _looked_through(source, names)
    work = Work(digest.of_file(source), digest.of_folder(model), tuple(names), chunk)
    folder = output.with_name(f"{output.name}.parts")
    done = _resume(folder, work)
    called = _answer_names(predictor, there)
    kinds = [(called[name], _KINDS[type(value)]) for name, value in _example(predictor).items()]
    types = pa.schema([*tables.schema(source, there), *(pa.field(*kind) for kind in kinds)])
    parts = []
    with bar("predict", rows, min(done * chunk, rows)) as progress:
        for place, some in enumerate(tables.chunks(source, chunk)):
            part = folder / f"{place:08d}{output.suffix.lower()}"
            parts.append(part)
            if place >= done:
                answered = _answered(predictor, some, names, called)
                _whole(part, lambda draft, rows=answered: tables.write(draft, rows, types))
                progress.advance(len(some))
    _whole(output, lambda draft: tables.join(parts, draft, types.names))
    shutil.rmtree(folder)
    return Done(rows, min(done * chunk, rows), unanswered)


def _text_columns(source: Path, found: card.Card, columns: Sequence[str]) -> list[str]:
    names = list(columns) or list(found.columns)
    if len(names) != len(found.columns):
        raise UserError(
            f"This model reads {', '.join(found.columns)}: name {len(found.columns)} columns, in that order; "
            f"there are {len(names)}."
        )
    there = tables.columns(source)
    for name in names:
        if name not in there:
            raise UserError(
                f"{source}: there is no column '{name}'; there are {', '.join(there)}.{did_you_mean(name, there)}\n"
                "Say which column holds the text: --column NAME"
            )
    return names


def _looked_through(source: Path, names: Sequence[str]) -> tuple[int, int, list[str]]:
    """How many rows there are, how many without a text, and all columns: of JSONL each row may have its own.

    What is wrong shows here, before hours of work.
    """
    count = unanswered = 0
    there: dict[str, None] = {}
    for some in tables.chunks(source, CHUNK):
        for row in some:
            count += 1
            there |= dict.fromkeys(row)
            for name in names:
                if not isinstance(row.get(name), str | None):
                    raise UserError(
                        f"{source}, row {count}: the column '{name}' holds {row[name]!r}, which is no text."
                    )
            unanswered += not _has_texts(row, names)
    if count == 0:
        raise UserError(f"{source}: has no row")
    return count, unanswered, list(there)


def _has_texts(row: Row, names: Sequence[str]) -> bool:
    return all((row.get(name) or "").strip() for name in names)


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


def _answer_names(predictor: Predictor, taken: Sequence[str]) -> dict[str, str]:
    """What each part of an answer is called in the output."""
    return {name: f"{_TAKEN}{name}" if name in taken else name for name in _example(predictor)}


def _example(predictor: Predictor) -> Answer:
    """Some answer, for the names and kinds of its parts."""
    return predictor.answer(pa.table({name: ["."] for name in predictor.card.columns}))[0]


def _answered(predictor: Predictor, rows: Sequence[Row], names: Sequence[str], called: dict[str, str]) -> list[Row]:
    asked = [row for row in rows if _has_texts(row, names)]
    columns = {
        column: pa.array([row[name] for row in asked], pa.string())
        for column, name in zip(predictor.card.columns, names, strict=True)
    }
    answers = iter(predictor.answer(pa.table(columns)))
    found = []
    for row in rows:
        answer: Answer = next(answers) if _has_texts(row, names) else {}
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
