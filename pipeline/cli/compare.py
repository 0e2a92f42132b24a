"""`reprise compare`: runs against a reference, with what differs and whether it is more than chance."""

import json
from pathlib import Path

import click
from rich.console import Console

from pipeline.cli import compare_tables
from pipeline.cli.output import prepared


@click.command("compare")
@click.argument("reference")
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--split",
    type=click.Choice(["validation", "test"]),
    default="validation",
    show_default=True,
    help="The rows to judge on. Each look at the test rows is counted.",
)
@click.option("--common", is_flag=True, help="Compare the rows that all have, where their rows differ.")
@click.option("--slice", "only", metavar="NAME", help="Test the groups of this slice alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--html", type=click.Path(dir_okay=False, resolve_path=True, path_type=Path), help="Write a page to this file, too."
)
def command(
    reference: str, runs: tuple[str, ...], split: str, common: bool, only: str | None, as_json: bool, html: Path | None
) -> None:
    """Compare RUNS with REFERENCE on the same rows.

    A run is called by its id, its name, MODEL@ALIAS, MODEL/VERSION, a DVC experiment, a git revision, or `workspace`.
    """
    # Imported here: torch and MLflow take seconds, and `reprise compare --help` should not.
    from pipeline import params_file, project
    from pipeline.lifecycle import compare, compare_page

    if html is not None:
        prepared(html)
    found = compare.compare((reference, *runs), params_file.read(project.PARAMS), split, common, only)
    if html is not None:
        html.write_text(compare_page.render(found), encoding="utf-8", newline="\n")
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    compare_tables.show(found, Console(highlight=False))
    if html is not None:
        click.echo(f"page: {html}")
