"""`reprise rollback`: the champion before this one is champion again."""

import click

from pipeline import params_file, project


@click.command("rollback")
@click.argument("model", required=False)
@click.option("--to", metavar="VERSION", help="Go back to this version.  [default: the champion before]")
@click.option("--reason", metavar="TEXT", help="Why; kept in the history.")
def command(model: str | None, to: str | None, reason: str | None) -> None:
    """Make the champion before this one champion again; MODEL is by default that of params.yaml."""
    # Imported here: MLflow takes seconds, and `reprise rollback --help` should not.
    from pipeline.lifecycle.promote import rollback

    event = rollback(params_file.read(project.PARAMS), model, to, reason)
    click.echo(f"Version {event.version} is champion again, in place of version {event.before}.")
