"""`reprise verify`: a run trained again, and whether the model is the same."""

from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import params_file, project
from pipeline.scores import decimals, number

if TYPE_CHECKING:
    from pipeline.lifecycle.verify import Score, Verdict

_DIFFERENT = 3
_DIGITS = 12


@click.command("verify")
@click.argument("run")
@click.option("--here", is_flag=True, help="Train in the present environment, whatever its versions.")
@click.option("--keep", is_flag=True, help="Leave the folder in which it was trained again.")
def command(run: str, here: bool, keep: bool) -> int:
    """Train a run again from what it recorded, and say whether the model is the same, byte for byte.

    RUN is a run's id or name, MODEL@ALIAS, MODEL/VERSION, a git revision or DVC experiment, or `workspace`. Its code,
    data and params are checked out to a temporary folder, and an environment of its versions is made if the present
    one has others. Exit code 0: the same bytes; 3: others, and how far the scores are apart; 1: it could not be done.
    """
    # Imported here: MLflow takes seconds, and `reprise --help` should not.
    from pipeline.lifecycle import verify
    from pipeline.tracking import records

    record = records.find(run, params_file.read(project.PARAMS).tracking.experiment_name)
    verdict = verify.verify(record, here=here, keep=keep, say=lambda line: click.echo(line, err=True))
    _show(verdict)
    return 0 if verdict.same else _DIFFERENT


def _show(verdict: "Verdict") -> None:
    console, record = Console(highlight=False), verdict.record
    recorded, again = verdict.digests
    if verdict.same:
        console.print(f"The same model, byte for byte: {record.name} ({record.id}), SHA-256 {recorded}", soft_wrap=True)
    else:
        console.print(
            f"Not the same bytes: {record.name} ({record.id}) has SHA-256 {recorded[:_DIGITS]}..., "
            f"and now it came out as {again[:_DIGITS]}...",
            soft_wrap=True,
        )
        for line in verdict.reasons or (
            "Machine, versions, code and data are as they were: something is not repeatable.",
        ):
            console.print(f"  {line}", markup=False, soft_wrap=True)
        if verdict.scores:
            console.print(_table(verdict.scores))
    if verdict.folder is not None:
        console.print(f"It stays in {verdict.folder}", markup=False, soft_wrap=True)


def _table(scores: "tuple[Score, ...]") -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("score", "recorded", "interval", "again", "difference"):
        table.add_column(name)
    for score in scores:
        recorded, again = score.recorded, score.again
        digits = decimals([recorded, again], score.name, more=1)
        low, high = number(score.low, digits), number(score.high, digits)
        apart = None if recorded is None or again is None else again - recorded
        table.add_row(
            Text(f"{score.split}/{score.name}"),
            number(recorded, digits),
            "–" if score.low is None else f"{low} to {high}",
            number(again, digits),
            number(apart, digits, "+"),
        )
    return table
