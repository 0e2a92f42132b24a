"""`reprise sync`: send to MLflow what it has not got yet."""

import click

from pipeline.progress import bar


@click.command("sync")
def command() -> None:
    """Send to MLflow what it did not take while the runs went on; as often as you like, nothing arrives twice.

    Runs whose processes are gone are closed as killed. Runs that still go on send for themselves.
    """
    # Imported here: MLflow takes seconds, and `reprise --help` should not.
    from pipeline.tracking import store, sync

    found = sync.left()
    total = sum(journal.all_left() for journal in found.journals)
    with bar("sync", total) as progress:
        sync.send_all(found.journals, progress.advance)
    if found.journals:
        click.echo(f"Sent {total:,} entries of {_runs(len(found.journals))} to {store.shown()}.")
    else:
        click.echo("Nothing is left to send.")
    if found.running:
        click.echo(f"{_runs(found.running)} still going on, which sends for itself.")
    for uri in sorted(found.elsewhere):
        how = f"MLFLOW_TRACKING_URI={uri} reprise sync" if uri else "reprise sync, without MLFLOW_TRACKING_URI"
        click.echo(f"Other runs were not written for this server. Send them with: {how}")


def _runs(count: int) -> str:
    return f"{count:,} run{'s' * (count != 1)}"
