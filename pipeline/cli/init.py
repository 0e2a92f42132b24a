"""`reprise init`: a params.yaml that suits somebody's own rows."""

import os
import shlex
import sys
from pathlib import Path

import click
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline import params_file, project
from pipeline.cli import backups, guess
from pipeline.data import sources
from pipeline.errors import UserError, did_you_mean
from pipeline.params import Params

_KEY = "data.train_file"
_SHOWN_ROWS = 3
_SHOWN_CHARACTERS = 160
_WIDTH_OF_A_FILE = 120


def _absolute(_context: click.Context, _option: click.Parameter, value: str) -> Path:
    # Not resolved: a file below data/raw/ may be a link to another disk, or into DVC's cache.
    return Path(os.path.abspath(Path(value).expanduser()))  # noqa: PTH100


def _name_or_path(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    is_folder = value is not None and Path(value).expanduser().is_dir()
    return os.path.abspath(Path(value).expanduser()) if value and is_folder else value  # noqa: PTH100


@click.command("init")
@click.argument("file", callback=_absolute, metavar="data/raw/FILE")
@click.option(
    "--model", callback=_name_or_path, metavar="NAME", help="A pretrained model: a folder or a name of the hub."
)
@click.option("--task", metavar="NAME", help="What is learned (docs/tasks.md).  [default: guessed by the columns]")
@click.option("--text-column", "text", multiple=True, metavar="NAME", help="The column of the text; twice for pairs.")
@click.option("--label-column", "label", metavar="NAME", help="The column of the label.")
@click.option("--force", is_flag=True, help="Replace a changed params.yaml without asking; a backup keeps it.")
def command(
    file: Path, model: str | None, task: str | None, text: tuple[str, ...], label: str | None, force: bool
) -> None:
    """Write a params.yaml that suits your own data.

    FILE is .csv, .tsv, .json, .jsonl, .parquet, .txt or .conll, plain or .gz, below data/raw/; or a folder saved by
    datasets. The task, its columns and the files of validation and test beside it are guessed, and shown for you to
    check.
    """
    # Imported here: torch and transformers take seconds, and `reprise init --help` should not.
    from pipeline.cli.look import look
    from pipeline.cli.suit import suit

    found = look(_below_raw(file), task, text, label)
    params = suit(found, _from_project(model))
    _show(found, params)
    _write(params, force)


def _from_project(model: str | None) -> str | None:
    """A model's folder inside the project by its path from there, so that the project can be moved; else as it is."""
    here = Path.cwd()
    return Path(model).relative_to(here).as_posix() if model and Path(model).is_relative_to(here) else model


# Rows


def _below_raw(file: Path) -> Path:
    """The file's path from the project's folder.

    Raises:
        UserError: it lies elsewhere; the message says how to get it there.
    """
    here = Path.cwd()
    for path in (file, file.parent.resolve() / file.name):
        if path.is_relative_to(here / project.RAW) and path != here / project.RAW:
            return sources.locate(path.relative_to(here).as_posix(), _KEY)
    there = project.RAW / file.name
    if not file.exists():
        known = [path.as_posix() for path in sorted(project.RAW.rglob("*")) if not path.name.startswith(".")]
        raise UserError(f"There is no {file}.{did_you_mean(there.as_posix(), known)}")
    if file == here / project.RAW:
        raise UserError(f"{project.RAW} is the folder of all raw files; name one: reprise init {project.RAW}/FILE")
    copy = "cp -r" if file.is_dir() else "cp"
    raise UserError(
        f"{file} is not below {project.RAW}/, the folder that DVC watches. Copy it there first:\n"
        f"{copy} {shlex.quote(str(file))} {project.RAW}/ && reprise init {shlex.quote(there.as_posix())}"
    )


# What the user sees


def _show(found: guess.Found, params: Params) -> None:
    """Three rows, then what was chosen and why."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_FILE
    columns = ["id", *found.columns]
    rows = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        rows.add_column("row" if name == "id" else name, no_wrap=name == "id", overflow="fold")
    for row in _three(found.table.select(columns), found.label):
        rows.add_row(*(_shortened(row[name]) for name in columns))
    console.print(rows)
    values = params.model_dump(mode="json")
    chosen = Table(box=None, pad_edge=False, show_header=False)
    for name in ("key", "value", "why"):
        chosen.add_column(name, style="dim" if name == "why" else None, no_wrap=name != "why")
    for key, why in found.why.items():
        section, _, name = key.partition(".")
        chosen.add_row(key, _plain(values[section][name] if name else values[section]), why)
    console.print(chosen)
    console.print()
    for note in found.notes:
        console.print(f"Note: {note}", soft_wrap=True)


def _three(table: pa.Table, label: str | None) -> list[dict[str, object]]:
    """Three rows in the file's order, with different labels where there are any."""
    first: dict[str, int] = {}
    for place, value in enumerate(table[label].to_pylist() if label else ()):
        first.setdefault(str(value), place)
    chosen = list(first.values())[:_SHOWN_ROWS]
    chosen += [place for place in range(min(len(table), 2 * _SHOWN_ROWS)) if place not in chosen]
    rows: list[dict[str, object]] = table.take(sorted(chosen[:_SHOWN_ROWS])).to_pylist()
    return rows


def _shortened(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# The file


def _write(params: Params, force: bool) -> None:
    """Write params.yaml, whole or not at all; one with changes that nobody else keeps is replaced only on request.

    Raises:
        UserError: there is such a one, and it is to stay.
    """
    path, text = project.PARAMS, params_file.render(params).encode()
    if backup := backups.due(path, text):
        if not force and not _is_interactive():
            raise UserError(
                f"{path} holds changes that git does not have, so it stays. To replace it, add --force:\n"
                f"{backup} will keep it."
            )
        if not force and not click.confirm(
            f"{path} holds changes that git does not have. Replace it? {backup} will keep it."
        ):
            raise UserError(f"{path} stays as it is.")
        backups.keep(path, backup)
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_bytes(text)
    unfinished.replace(path)
    click.echo(f"{path} is written. If a guess is wrong, change it there: every key is explained. Then train:\n")
    here = Path.cwd()
    has_git = any((folder / ".git").exists() for folder in (here, *here.parents))
    click.echo("    dvc repro" if has_git else "    make run    # tells DVC that there is no git here")


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
