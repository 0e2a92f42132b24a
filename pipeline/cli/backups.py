"""A params.yaml with changes that nobody else has is kept beside the one that replaces it."""

import itertools
import shutil
import subprocess
from pathlib import Path

import click

from pipeline import params_file
from pipeline.errors import UserError
from pipeline.params import Params


def due(path: Path, text: bytes) -> Path | None:
    """Where to keep the file before it is replaced by this text; None if nothing is lost."""
    if not path.exists() or path.read_bytes() == text or _is_kept_elsewhere(path):
        return None
    # The first name that no file has: an earlier backup stays.
    first = path.with_name(f"{path.name}.bak")
    numbered = (first.with_name(f"{first.name}{number}") for number in itertools.count(2))
    return next(name for name in itertools.chain([first], numbered) if not name.exists())


def keep(path: Path, backup: Path) -> None:
    """Copy the file, and say so."""
    shutil.copy2(path, backup)
    click.echo(f"{backup.name} keeps the {path.name} that was here.")


def _is_kept_elsewhere(path: Path) -> bool:
    """Whether git has just this file, or it is the one that every project starts with."""
    try:
        if params_file.read(path) == Params():
            return True
        asked = (["ls-files", "--", path.name], ["status", "--porcelain", "--", path.name])
        tracked, changed = (
            subprocess.run(["git", *question], cwd=path.parent, check=True, capture_output=True).stdout
            for question in asked
        )
    except (UserError, OSError, subprocess.CalledProcessError):
        return False
    return bool(tracked) and not changed
