"""`reprise predict`: what the trained model says to texts."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from pipeline import params_file, project
from pipeline.errors import UserError
from pipeline.params import Hardware
from pipeline.serving import card

_STDIN = "-"
_LINES_AT_ONCE = 256

Texts = tuple[str, ...]
"""A text, or a text and its pair."""
Answers = Iterable[tuple[Texts, Mapping[str, str | float]]]


@click.command("predict")
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
def command(texts: tuple[str, ...], pairs: tuple[str, ...], model: Path | None) -> None:
    """Print label and probability for texts.

    \b
      reprise predict --text "A fine film." --text "A dull one."
      reprise predict < texts.txt      one text a line; for pairs text<TAB>text
      reprise predict < texts.txt > answers.tsv      label<TAB>probability<TAB>text
    """
    folder = model or project.BEST_MODEL
    if _STDIN in texts and len(texts) > 1:
        raise click.UsageError("--text - reads all texts from standard input; give no other --text beside it.")
    from_stdin = not texts or texts == (_STDIN,)
    if from_stdin and pairs:
        raise click.UsageError("--text-pair goes with --text; on standard input a line is text<TAB>text.")
    if not texts and sys.stdin.isatty():
        raise click.UsageError('Give a text: reprise predict --text "..."; or pipe texts in, one a line.')
    columns = card.read(folder).text_columns
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
                raise UserError(f"{key} {value!r} is empty: there is nothing to label.")
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
            raise UserError(f"Standard input, line {empty}, is empty: there is nothing to label. Take the line out.")
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
        from pipeline.serving.predictor import Predictor

        predictor = Predictor.load(folder, _hardware())
    while some := list(islice(asked, _LINES_AT_ONCE)):
        columns = [list(column) for column in zip(*some, strict=True)]
        yield from zip(some, predictor.answer(*columns), strict=True)


def _hardware() -> Hardware:
    """What the project computes on; a params.yaml that is broken, or missing, is no reason to give no answer."""
    try:
        return params_file.read(project.PARAMS).hardware
    except UserError:
        return Hardware()


def _show_lines(answers: Answers) -> None:
    """A line a text, as soon as it is answered; white space inside a text becomes a space."""
    for texts, answer in answers:
        click.echo("\t".join([*_values(answer), *(" ".join(text.split()) for text in texts)]))


def _show_table(answers: Answers) -> None:
    """A table for people."""
    console = Console(markup=False, emoji=False, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for texts, answer in answers:
        if not table.columns:
            for name, value in answer.items():
                table.add_column(name, justify="right" if isinstance(value, float) else "left", no_wrap=True)
            for name in ("text", "text pair")[: len(texts)]:
                table.add_column(name)
        table.add_row(*_values(answer), *texts)
    console.print(table)


def _values(answer: Mapping[str, str | float]) -> list[str]:
    return [f"{value:.4f}" if isinstance(value, float) else value for value in answer.values()]
