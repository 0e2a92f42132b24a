"""SHA-256 digests of files, folders and values: what ties runs, checkpoints and models to their contents."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_SKIPPED = {"__pycache__", ".git", ".DS_Store", ".gitignore", ".gitkeep"}


def of_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(folder: Path) -> str:
    """Hex digest of the names and contents of all files below a folder, whatever its own name or their order."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not _SKIPPED.intersection(path.relative_to(folder).parts)
    )
    return of_value([[name, of_file(folder / name)] for name in names])


def of_path(path: Path) -> str:
    """Hex digest of a file or a folder."""
    return of_folder(path) if path.is_dir() else of_file(path)


def of_paths(paths: Iterable[Path]) -> dict[str, str]:
    """Hex digest of every path that exists, by its name."""
    return {path.as_posix(): of_path(path) for path in paths if path.exists()}


def of_value(value: object) -> str:
    """Hex digest of a JSON value; keys are sorted, so equal dictionaries have equal digests."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
