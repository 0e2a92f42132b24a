"""`reprise gc`: free what old runs take in MLflow, the DVC cache and the checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from pipeline import dag, params_file, project

if TYPE_CHECKING:
    from pipeline.lifecycle.gc import Plan
    from pipeline.tracking.records import Record

_UNITS = ("bytes", "KiB", "MiB", "GiB")


@click.command("gc")
@click.option("--keep", default="champion,best:5", show_default=True, help="Aliases and best:N, with commas between.")
@click.option("--dry-run", is_flag=True, help="Only show what would be freed.")
@click.option("--yes", is_flag=True, help="Do not ask (for CI).")
def command(keep: str, dry_run: bool, yes: bool) -> None:
    """Free what old runs take in MLflow, the DVC cache and the checkpoints.

    Runs that are registered, running or not understood are kept; so is everything that a commit, a working tree or a
    kept run uses. best:N are the N finished runs with the best train.metric_for_best_model on validation.
    """
    # Imported here: torch and MLflow take seconds, and `reprise --help` should not.
    from pipeline.lifecycle import gc
    from pipeline.tracking import store
    from pipeline.training import abandoned

    params = params_file.read(project.PARAMS)
    folder = Path(params.hardware.checkpoint_dir) if params.hardware.checkpoint_dir else None
    checkpoints = [
        gc.Checkpoints(found.folder, found.run, found.recorded) for found in abandoned.find(dag.locked("train"), folder)
    ]
    with Console(stderr=True).status("Looking at the runs, and with DVC at what all commits use ..."):
        plan = gc.plan(gc.Keep.parse(keep), params, checkpoints)
    total = _show(plan)
    if not (plan.freed or plan.cached or plan.checkpoints):
        click.echo("There is nothing to free.")
        return
    if dry_run:
        click.echo(f"This would free {total}. Nothing was freed (--dry-run).")
        return
    if not yes:
        click.confirm(f"Free {total}? It does not come back.", abort=True)
    gc.free(plan, abandoned.remove)
    click.echo(f"Freed {total}.")
    if plan.freed and store.is_server(store.tracking_uri()):
        click.echo(f"{store.shown()} has only marked its runs as deleted; its admin frees their space: mlflow gc")


def _show(plan: "Plan") -> str:
    """Print the plan; what it frees, in words."""
    from pipeline.lifecycle import gc

    click.echo(f"MLflow: {len(plan.runs) - len(plan.freed)} of {len(plan.runs)} runs are kept.")
    for old in plan.runs:
        if old.reason is not None:
            click.echo(f"  kept   {_called(old.record)}: {old.reason}")
    sizes = {}
    for old in plan.freed:
        sizes[old.record.id] = gc.size([old.artifacts]) if old.artifacts is not None else None
        click.echo(f"  freed  {_called(old.record)}: {_bytes(sizes[old.record.id])}")
    cached, saved = gc.size(plan.cached), gc.size(found.folder for found in plan.checkpoints)
    click.echo(f"DVC cache: {len(plan.cached)} files that nothing kept uses, {_bytes(cached)}.")
    for found in plan.checkpoints:
        click.echo(f"  checkpoints in {found.folder}: {_bytes(gc.size([found.folder]))}")
    click.echo(f"Checkpoints: {len(plan.checkpoints)} experiments, {_bytes(saved)}.")
    for line in plan.untouched:
        click.echo(f"Left alone: {line}")
    known = [value for value in sizes.values() if value is not None]
    more = "" if len(known) == len(sizes) else ", and what a server keeps of these runs"
    return f"{_bytes(sum(known) + cached + saved)}{more}"


def _called(record: "Record") -> str:
    return f"{record.id} {record.name}"


def _bytes(count: float | None) -> str:
    if count is None:
        return "on the server"
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:,.1f} {_UNITS[unit]}" if unit else f"{count} bytes"
