"""`reprise history`: how the champions of a registered model came and went."""

import csv
import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline import params_file, project
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.tracking.registry import State

_DIGITS = 9


@click.command("history")
@click.argument("model", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Print every event with all that is known of it, as CSV.")
def command(model: str | None, as_csv: bool) -> None:
    """Show who made which version champion, when, from which commit and on what evidence, rollbacks included.

    MODEL is by default that of params.yaml. The evidence is the digest of a decision, which lies in MLflow beside the
    run of the version, as decisions/DIGEST.json.
    """
    # Imported here: MLflow takes seconds, and `reprise history --help` should not.
    from pipeline.tracking.registry import Registry

    registry = Registry.open(model or params_file.read(project.PARAMS).tracking.model)
    state = registry.state()
    if as_csv:
        _write_csv(state)
    elif not state.events:
        raise UserError(f"Nothing was promoted under the name '{registry.name}' yet. Promote a model: reprise promote")
    else:
        _show(state)
    if state.events and state.events[-1].version != state.champion:
        now = f"version {state.champion}" if state.champion else "no version"
        click.echo(f"Note: {now} is champion now: somebody moved the alias, or the last move did not end.", err=True)


def _write_csv(state: "State") -> None:
    from pipeline.tracking.history import Event

    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(Event)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(event) for event in state.events)


def _show(state: "State") -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("", "when (UTC)", "what", "version", "before", "who", "commit", "evidence"):
        table.add_column(name, overflow="fold")
    for event in state.events:
        evidence = [event.verdict or "", (event.decision or "")[:_DIGITS], event.ci_run or "", event.reason or ""]
        table.add_row(
            str(event.number),
            event.when[:16].replace("T", " "),
            event.kind,
            event.version,
            event.before or "–",
            event.who,
            (event.commit or "–")[:_DIGITS],
            "\n".join(filter(None, evidence)),
        )
    Console(highlight=False, markup=False, emoji=False).print(table)
