"""`reprise decide`: whether a model may become champion."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import params_file, project
from pipeline.cli.output import prepared

if TYPE_CHECKING:
    from pipeline.lifecycle.decide import Decision

PASSED, NOT_PASSED = 0, 3
_STYLES = {"held": "green", "broken": "red", "cannot tell": "yellow"}


@click.command("decide")
@click.argument("run", default="workspace")
@click.option(
    "--output",
    type=click.Path(path_type=Path, resolve_path=True, dir_okay=False),
    default="decision.json",
    help="Where the decision is written.  [default: decision.json]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def command(run: str, output: Path, as_json: bool) -> int:
    """Judge the model of RUN by the rules of `promotion:` in params.yaml, against the champion on the same test rows.

    RUN is a run's id or name, by default that of models/best. Exits with 0 if it may become champion, with 3 if not,
    and with 1 after an error. Nothing is promoted: see reprise promote.
    """
    # Imported here: torch and MLflow take seconds, and `reprise decide --help` should not.
    from pipeline.lifecycle.decide import decide

    prepared(output)
    decision = decide(run, params_file.read(project.PARAMS))
    decision.write(output)
    if as_json:
        click.echo(json.dumps(asdict(decision), indent=2, ensure_ascii=False))
    else:
        show(decision)
    return PASSED if decision.passed else NOT_PASSED


def show(decision: "Decision") -> None:
    """Print the verdict and what it rests on."""
    console = Console(highlight=False, markup=False, emoji=False)
    against = f"version {decision.champion}" if decision.champion else "none yet"
    console.print(
        f"{decision.registered_model}: {decision.run_name} against the champion ({against}), "
        f"{decision.rows:,} test rows, look {decision.looks} at them",
        soft_wrap=True,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("rule", "outcome", "reason"):
        table.add_column(name)
    for check in decision.checks:
        table.add_row(check.rule, Text(check.outcome, _STYLES[check.outcome]), check.reason)
    if decision.checks:
        console.print(table)
    else:
        console.print("There is no champion, and promotion.floors in params.yaml asks nothing.")
    console.print(Text(f"Verdict: {decision.verdict}", "bold green" if decision.passed else "bold red"))
