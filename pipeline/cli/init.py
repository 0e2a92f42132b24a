"""`reprise init`: a params.yaml that suits somebody's own rows."""

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pyarrow as pa
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline import params_file, project
from pipeline.cli import guess
from pipeline.data import sources
from pipeline.data.rows import require_columns
from pipeline.errors import UserError, counted, did_you_mean
from pipeline.params import Data, Params

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
@click.option("--text-column", "text", multiple=True, metavar="NAME", help="The column of the text; twice for pairs.")
@click.option("--label-column", "label", metavar="NAME", help="The column of the label.")
@click.option("--force", is_flag=True, help="Replace a changed params.yaml without asking; a backup keeps it.")
def command(file: Path, model: str | None, text: tuple[str, ...], label: str | None, force: bool) -> None:
    """Write a params.yaml that suits your own data.

    FILE is .csv, .tsv, .json, .jsonl or .parquet, plain or .gz, below data/raw/; or a folder saved by datasets.
    Columns, labels and the files of validation and test beside it are guessed, and shown for you to check.
    """
    # Imported here: transformers takes seconds, and `reprise init --help` should not.
    from pipeline.cli.suit import suit

    found = _look(_below_raw(file), text, label)
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


def _look(path: Path, text: tuple[str, ...], label: str | None) -> guess.Found:
    """Read the head of the file, and guess what the options do not say."""
    width = guess.columns_without_header(path)
    names = [f"column_{place}" for place in range(1, width + 1)] if width else None
    data = Data(dataset_name=None, train_file=path.as_posix(), column_names=names)
    splits = sources.head(data, guess.ROWS)
    table = splits["train"]
    require_columns(table, text, "--text-column")
    require_columns(table, [label] if label else [], "--label-column")

    labels = guess.Guess((label,), "as you say") if label else guess.label_column(table, text, names is None)
    guess.check_label(table, labels.names[0])
    texts = guess.Guess(text, "as you say") if text else guess.text_columns(table, labels.names[0], names is None)
    table, data = _named(table, data, texts, labels)

    found = guess.Found(data, table, {"data.train_file": _count(table, data)})
    if names:
        found.why["data.column_names"] = "the first line looks like a row, not like a header"
    found.why["data.text_column_names"] = texts.why
    found.why["data.label_column_name"] = f"{labels.why}; {_balance(table, found.label)}"
    for split in project.SPLITS[1:]:
        _find(split, found, path, split in splits)
    return found


def _named(table: pa.Table, data: Data, texts: guess.Guess, labels: guess.Guess) -> tuple[pa.Table, Data]:
    """The table and the params with the guessed columns, which get names if the file has none."""
    new = {name: name for name in table.column_names}
    if data.column_names is not None:
        new |= guess.names_without_header(data.column_names, texts.names, labels.names[0])
    return table.rename_columns(list(new.values())), data.model_copy(
        update={
            "column_names": data.column_names and [new[name] for name in data.column_names],
            "text_column_names": [new[name] for name in texts.names],
            "label_column_name": new[labels.names[0]],
        }
    )


def _find(split: str, found: guess.Found, path: Path, inside: bool) -> None:
    """Choose the file of validation or test: one beside the training file that fits, or none."""
    key = f"{split}_file"
    other = guess.siblings(path).get(split)
    misfit = other and _misfit(found, other)
    if inside:
        found.why[f"data.{key}"] = f"{path} holds this split"
    elif other and not misfit:
        found.data = found.data.model_copy(update={key: other.as_posix()})
        found.why[f"data.{key}"] = "found beside it"
    else:
        percentage = getattr(found.data, f"{split}_split_percentage")
        found.why[f"data.{key}"] = f"none found; {percentage}% of the rows are cut off for it"
        found.notes += [f"{other} is not taken as {key}: {misfit}"] if misfit else []


def _misfit(found: guess.Found, other: Path) -> str | None:
    """Why a file does not go with the training file; None if it does."""
    data, label = found.data, found.label
    if (guess.columns_without_header(other) is None) != (data.column_names is None):
        return "only one of the two has a header."
    try:
        table = sources.head(data.model_copy(update={"train_file": other.as_posix()}), guess.ROWS)["train"]
        require_columns(table, found.texts, "text")
        require_columns(table, [label], "label")
    except UserError as error:
        return str(error)
    known = set(guess.values_of(found.table, label))
    return None if known.intersection(guess.values_of(table, label)) else "it shows none of the training rows' labels."


def _count(table: pa.Table, data: Data) -> str:
    count = counted(len(table), "row") if len(table) < guess.ROWS else f"its first {len(table):,} rows were looked at"
    used = ("id", *(data.text_column_names or ()), data.label_column_name)
    others = [name for name in table.column_names if name not in used]
    return f"{count}; columns that are not used: {', '.join(others)}" if others else count


def _balance(table: pa.Table, label: str) -> str:
    counts = Counter(guess.values_of(table, label)).values()
    if len(counts) == 1:
        return f"only one in the first {len(table):,} rows: the file seems to be sorted"
    return f"{len(counts):,} labels, {min(counts):,} to {counted(max(counts), 'row')} each"


# What the user sees


def _show(found: guess.Found, params: Params) -> None:
    """Three rows, then what was chosen and why."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_OF_A_FILE
    columns = ("id", *found.texts, found.label)
    rows = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        rows.add_column("row" if name == "id" else name, no_wrap=name == "id", overflow="fold")
    for row in _three(found.table.select(columns), columns[-1]):
        rows.add_row(*(_shortened(row[name]) for name in columns))
    console.print(rows)
    values = params.model_dump(mode="json")
    chosen = Table(box=None, pad_edge=False, show_header=False)
    for name in ("key", "value", "why"):
        chosen.add_column(name, style="dim" if name == "why" else None, no_wrap=name != "why")
    for key, why in found.why.items():
        section, name = key.split(".")
        chosen.add_row(key, _plain(values[section][name]), why)
    console.print(chosen)
    console.print()
    for note in found.notes:
        console.print(f"Note: {note}", soft_wrap=True)


def _three(table: pa.Table, label: str) -> list[dict[str, object]]:
    """Three rows in the file's order, with different labels where there are any."""
    first: dict[object, int] = {}
    for place, value in enumerate(table[label].to_pylist()):
        first.setdefault(value, place)
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
    if path.exists() and path.read_bytes() != text and not _is_kept_elsewhere(path):
        backup = _free(path.with_name(f"{path.name}.bak"))
        if not force and not _is_interactive():
            raise UserError(
                f"{path} holds changes that git does not have, so it stays. To replace it, add --force:\n"
                f"{backup} will keep it."
            )
        if not force and not click.confirm(
            f"{path} holds changes that git does not have. Replace it? {backup} will keep it."
        ):
            raise UserError(f"{path} stays as it is.")
        shutil.copy2(path, backup)
        click.echo(f"{backup} keeps the {path} that was here.")
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_bytes(text)
    unfinished.replace(path)
    click.echo(f"{path} is written. If a guess is wrong, change it there: every key is explained. Then train:\n")
    here = Path.cwd()
    has_git = any((folder / ".git").exists() for folder in (here, *here.parents))
    click.echo("    dvc repro" if has_git else "    make run    # tells DVC that there is no git here")


def _free(path: Path) -> Path:
    """The path, or with the first number behind it that no file has: an earlier backup stays."""
    numbered = (path.with_name(f"{path.name}{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([path], numbered) if not name.exists())


def _is_kept_elsewhere(path: Path) -> bool:
    """Whether git has just this file, or it is the one that every project starts with."""
    try:
        if params_file.read(path) == Params():
            return True
        asked = (["ls-files", "--", path.name], ["status", "--porcelain", "--", path.name])
        tracked, changed = (
            subprocess.run(["git", *question], check=True, capture_output=True).stdout for question in asked
        )
    except (UserError, OSError, subprocess.CalledProcessError):
        return False
    return bool(tracked) and not changed


def _is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()
