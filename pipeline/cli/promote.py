"""`reprise promote`: a model becomes champion."""

from pathlib import Path

import click

from pipeline import params_file, project
from pipeline.cli.decide import NOT_PASSED, PASSED, show


@click.command("promote")
@click.argument("run", required=False)
@click.option(
    "--decision",
    type=click.Path(path_type=Path, resolve_path=True, dir_okay=False),
    help="Go by this decision; without it, one is made now.",
)
@click.option("--force", is_flag=True, help="Promote it though it does not pass.")
@click.option("--reason", metavar="TEXT", help="Why; kept in the history.")
def command(run: str | None, decision: Path | None, force: bool, reason: str | None) -> int:
    """Give the model of RUN the alias `champion`, if the gate lets it pass; it is registered if need be.

    RUN is a run's id or name, by default the one that was decided on, or that of models/best. Exits with 0 if it is
    champion now, with 3 if it did not pass, and with 1 after an error, such as a decision that was made against
    another champion, model, test set or gate.
    """
    if force != bool(reason and reason.strip()):
        raise click.UsageError("--force and --reason TEXT go together: the history says why a gate was passed by.")
    # Imported here: torch and MLflow take seconds, and `reprise promote --help` should not.
    from pipeline.lifecycle.promote import promote

    made, event = promote(run, params_file.read(project.PARAMS), decision, reason)
    show(made)
    if event is not None:
        before = f" in place of version {event.before}" if event.before else ""
        click.echo(f"Version {event.version} of '{made.registered_model}' is champion{before}.")
    elif made.passed or force or made.model_digest == made.champion_model_digest:
        click.echo(f"This model is the champion of '{made.registered_model}' already.")
    else:
        click.echo("The champion stays. To promote it all the same: reprise promote --force --reason TEXT")
        return NOT_PASSED
    return PASSED
