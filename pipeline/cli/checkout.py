"""`reprise checkout`: a run's code, params and data in a folder of their own."""

import shlex
from pathlib import Path

import click

from pipeline import params_file, project


@click.command("checkout")
@click.argument("run")
@click.option(
    "--into",
    type=click.Path(path_type=Path, resolve_path=True),
    help="The new folder; one beside the project, named after the run, by default.",
)
def command(run: str, into: Path | None) -> None:
    """Put a run's commit, changes, params and data into a new folder. The present working tree stays as it is.

    RUN is a run's id or name, MODEL@ALIAS, MODEL/VERSION, a git revision or DVC experiment, or `workspace`.
    """
    # Imported here: MLflow takes seconds, and `reprise --help` should not.
    from pipeline.lifecycle import checkout
    from pipeline.tracking import records

    record = records.find(run, params_file.read(project.PARAMS).tracking.experiment_name)
    tree = checkout.check_out(record, into or checkout.beside(record))
    checkout.share_database(tree.folder)
    changed = len(tree.origin["changed"]) - len(tree.origin["left_out"])
    commit = tree.origin["git"]["commit"][:12]
    click.echo(f"The run {record.name} ({record.id}) is in {tree.folder}")
    click.echo(
        f"  commit {commit}, with {changed} changed file{'s' * (changed != 1)}" if changed else f"  commit {commit}"
    )
    for line in tree.missing:
        click.echo(f"  missing: {line}", err=True)
    click.echo("\nIts results, from DVC's cache if they are still there, else trained again:")
    click.echo(f"  cd {shlex.quote(str(tree.folder))} && dvc repro")
    click.echo(f"When you are done:\n  git worktree remove --force {shlex.quote(str(tree.root))}")
