"""`reprise params`: a params.yaml of a few lines, written out whole."""

from pathlib import Path

import click

from pipeline import params_file, project
from pipeline.cli import backups


@click.command("params")
@click.argument("source", metavar="[FILE]", required=False, type=click.Path(path_type=Path, resolve_path=True))
@click.option("--output", type=click.Path(path_type=Path, resolve_path=True), help="[default: params.yaml]")
def command(source: Path | None, output: Path | None) -> None:
    """Write params.yaml with every key: those of FILE with their values, all others with their defaults.

    \b
      reprise params examples/causal-lm/params.yaml
      reprise params                  the params.yaml that is here

    DVC needs every section of the file, and so a file of a few lines is written out before `dvc repro`. What the file
    says stays; its comments make way for those of the keys. A params.yaml that is replaced, and whose changes git does
    not have, is kept as params.yaml.bak.
    """
    output = output or Path(project.PARAMS)
    text = params_file.render(params_file.read(source or Path(project.PARAMS)))
    if backup := backups.due(output, text.encode()):
        backups.keep(output, backup)
    unfinished = output.with_name(f"{output.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    unfinished.replace(output)
    click.echo(f"Wrote {output.name} with every key. Next: dvc repro")
