"""`reprise predict`: what the trained model, or a registered one, says to texts, or to the rows of a file."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pipeline import params_file, project
from pipeline.errors import UserError, counted
from pipeline.params import Evaluate, Hardware
from pipeline.scores import decimals
from pipeline.serving import card

_STDIN = "-"
_LINES_AT_ONCE = 256
_MOST_TEXTS = 2
_FILE = click.Path(path_type=Path, resolve_path=True, dir_okay=False)

Texts = tuple[str, ...]
"""A text, or a text and its pair."""
Answers = Iterable[tuple[Texts, Mapping[str, Any]]]


def _as_seen_from_here(_context: click.Context, _argument: click.Parameter, named: str | None) -> str | None:
    """A path as the user's own folder has it; what is no path may be the name of a registered model."""
    return str(Path(named).resolve()) if named is not None and Path(named).exists() else named


@click.command("predict")
@click.argument("named", metavar="[MODEL|PATH]", required=False, callback=_as_seen_from_here)
@click.option("--text", "texts", multiple=True, metavar="TEXT", help="A text; may be repeated. - reads one a line.")
@click.option(
    "--text-pair",
    "pairs",
    multiple=True,
    metavar="TEXT",
    help="Its second text, for a model of pairs; may be repeated.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path, resolve_path=True),
    help=f"The folder of an exported model.  [default: {project.BEST_MODEL}]",
)
@click.option("--input", "source", type=_FILE, help="A file of rows: .csv, .tsv, .jsonl or .parquet; with --output.")
@click.option("--output", type=_FILE, help="Where its rows go, with their answers behind them; same endings.")
@click.option(
    "--column",
    "names",
    multiple=True,
    help="A column that the model reads; once for each, in their order.  [default: as its task names them]",
)
def command(
    named: str | None,
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    model: Path | None,
    source: Path | None,
    output: Path | None,
    names: tuple[str, ...],
) -> None:
    """Print what the model says to texts, such as label and probability, or add it to the rows of a file.

    \b
      reprise predict --text "A fine film." --text "A dull one."
      reprise predict < texts.txt      one text a line; for pairs text<TAB>text
      reprise predict < texts.txt > answers.tsv      label<TAB>probability<TAB>text
      reprise predict reviews@champion --input texts.csv --output answers.csv
      reprise predict --input rows.jsonl --output answers.jsonl      any task, any columns

    MODEL is MODEL@champion or MODEL/VERSION of MLflow's registry, PATH the folder of an exported model; by default it
    is that in models/best. A file may be larger than memory, and a run that was killed goes on when it is called again.
    """
    if named is not None and model is not None:
        raise click.UsageError("Name the model once: as MODEL or PATH, or with --model.")
    if (source is None) != (output is None) or (names and source is None):
        raise click.UsageError("--input FILE and --output FILE go together, and --column with them.")
    if source is not None and (texts or pairs):
        raise click.UsageError("The texts come from --input or from --text, not from both.")
    folder = _folder(named) if named is not None else model or project.BEST_MODEL
    if source is not None and output is not None:
        _batch(folder, source, output, names)
        return
    _answer(folder, texts, pairs)


def _folder(named: str) -> Path:
    """The exported model in a folder, or of a registered version."""
    if Path(named).is_absolute() or not ("@" in named or "/" in named):
        return Path(named)
    # Imported here: MLflow takes seconds, which a folder does not need.
    from pipeline.lifecycle.fetch import of_registry

    return of_registry(named) or Path(named)


def _batch(folder: Path, source: Path, output: Path, names: tuple[str, ...]) -> None:
    card.read(folder)
    # Imported here: torch takes seconds, and `reprise predict --help` should not.
    from pipeline.serving import batch
    from pipeline.serving.predictor import Predictor

    done = batch.predict(Predictor.load(folder, *_settings()), folder, source, output, names)
    said = f"{output.name}: {counted(done.rows, 'row')}"
    said += f", {done.resumed:,} of them answered by an earlier run" if done.resumed else ""
    said += f"; {counted(done.unanswered, 'empty text')} without an answer" if done.unanswered else ""
    click.echo(f"{said}.", err=True)


def _answer(folder: Path, texts: tuple[str, ...], pairs: tuple[str, ...]) -> None:
    """Answer the texts of the command line, or those on standard input."""
    if _STDIN in texts and len(texts) > 1:
        raise click.UsageError("--text - reads all texts from standard input; give no other --text beside it.")
    from_stdin = not texts or texts == (_STDIN,)
    if from_stdin and pairs:
        raise click.UsageError("--text-pair goes with --text; on standard input a line is text<TAB>text.")
    if not texts and sys.stdin.isatty():
        raise click.UsageError('Give a text: reprise predict --text "..."; or pipe texts in, one a line.')
    named = card.read(folder).columns
    if (columns := len(named)) > _MOST_TEXTS:
        raise UserError(
            f"This model reads {', '.join(named)}: more than a command line or a line of text holds.\n"
            "Put them into a file: reprise predict --input rows.jsonl --output answers.jsonl"
        )
    asked = _lines(columns) if from_stdin else iter(_given(texts, pairs, columns))
    first = next(asked, None)
    if first is None:
        raise UserError("There is no text on standard input.")
    show = _show_table if sys.stdout.isatty() else _show_lines
    show(_answers(folder, chain([first], asked)))


def _given(texts: tuple[str, ...], pairs: tuple[str, ...], columns: int) -> list[Texts]:
    """The texts of the command line, with their pairs."""
    if columns == 1 and pairs:
        raise UserError("This model was trained on single texts: leave --text-pair out.")
    if columns == 2 and len(pairs) != len(texts):
        raise UserError(
            "This model was trained on pairs of texts: give a --text-pair for every --text "
            f"(there are {len(texts)} and {len(pairs)})."
        )
    for key, values in (("--text", texts), ("--text-pair", pairs)):
        for value in values:
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UserError(f"{key} {value!a} is not UTF-8 text.") from None
            if not value.strip():
                raise UserError(f"{key} {value!r} is empty: there is nothing to answer.")
    return list(zip(texts, pairs, strict=True)) if columns == 2 else [(text,) for text in texts]


def _lines(columns: int) -> Iterator[Texts]:
    """The lines of standard input; empty ones may only be its last, so that answers stay line by line."""
    empty: int | None = None
    for number, raw in enumerate(sys.stdin.buffer, 1):
        try:
            line = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise UserError(f"Standard input, line {number}, is not UTF-8 text.") from None
        if not line.strip():
            empty = empty or number
            continue
        if empty is not None:
            raise UserError(f"Standard input, line {empty}, is empty: there is nothing to answer. Take the line out.")
        texts = (line,) if columns == 1 else tuple(line.split("\t"))
        if len(texts) != columns:
            raise UserError(
                f"Standard input, line {number}: this model was trained on pairs, so a line is text<TAB>text; "
                f"this one has {len(texts)} field{'s' * (len(texts) > 1)}."
            )
        if not all(text.strip() for text in texts):
            raise UserError(f"Standard input, line {number}: one of its two texts is empty.")
        yield texts


def _answers(folder: Path, asked: Iterator[Texts]) -> Answers:
    with Console(stderr=True).status(f"Loading {folder.name} ..."):
        # Imported here: torch takes seconds, and `reprise predict --help` should not.
        import pyarrow as pa

        from pipeline.serving.predictor import Predictor

        predictor = Predictor.load(folder, *_settings())
    while some := list(islice(asked, _LINES_AT_ONCE)):
        columns = dict(zip(predictor.card.columns, zip(*some, strict=True), strict=True))
        yield from zip(some, predictor.answer(pa.table(columns)), strict=True)


def _settings() -> tuple[Hardware, Evaluate]:
    """What the project computes on, and how it writes texts; a params.yaml that is broken is no reason to be silent."""
    try:
        params = params_file.read(project.PARAMS)
    except UserError:
        return Hardware(), Evaluate()
    return params.hardware, params.evaluate


def _show_lines(answers: Answers) -> None:
    """A line a text, as soon as it is answered; white space inside a text becomes a space."""
    for texts, answer in answers:
        click.echo("\t".join(" ".join(text.split()) for text in (*_values(answer), *texts)))


def _show_table(answers: Answers) -> None:
    """A table for people."""
    console = Console(markup=False, emoji=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for texts, answer in answers:
        if not table.columns:
            for name, value in answer.items():
                number = isinstance(value, int | float)
                table.add_column(name, justify="right" if number else "left", no_wrap=number)
            for name in ("text", "text pair")[: len(texts)]:
                table.add_column(name)
        table.add_row(*_values(answer), *texts)
    console.print(table)


def _values(answer: Mapping[str, Any]) -> list[str]:
    """Words as they are, numbers with so many digits as tell, and anything else as JSON."""
    return [_value(name, value) for name, value in answer.items()]


def _value(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{decimals([value], name, more=1)}f}"
    return value if isinstance(value, str) else json.dumps(_rounded(name, value), ensure_ascii=False)


def _rounded(name: str, value: Any) -> Any:
    """A JSON value with so many digits as tell."""
    if isinstance(value, dict):
        return {inner: _rounded(inner, part) for inner, part in value.items()}
    if isinstance(value, list):
        return [_rounded(name, part) for part in value]
    return round(value, decimals([value], name, more=1)) if isinstance(value, float) else value
