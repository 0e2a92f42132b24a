"""Where rows come from: the embedded corpus, files below data/raw/, folders saved by `datasets`, and the hub.

Files lie below data/raw/ because stage prepare depends on that folder: DVC sees every change there, and no other.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import project
from pipeline.data import docstrings
from pipeline.data.arrow_files import from_dataset
from pipeline.data.files import read_file, read_files
from pipeline.data.rows import Wanted, half_pair
from pipeline.errors import UserError, did_you_mean, first_line
from pipeline.params import Data

EMBEDDED = "docstrings"
_SPELLINGS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation"}
_SPELLINGS |= {"dev": "validation", "test": "test"}
_MAX_LISTED = 8


def read(data: Data, wanted: Wanted) -> dict[str, pa.Table]:
    """The rows of every split that the source has, in its order.

    Returns:
        By split (`train` first): the column `id`, the place of each row, and the wanted columns, as the source has
        them (the columns of CSV and TSV are strings).

    Raises:
        UserError: the source or a column is missing, or a file is malformed.
    """
    return _tables(data, wanted, None)


def head(data: Data, rows: int = 200, wanted: Wanted = lambda names: {}) -> dict[str, pa.Table]:
    """The first rows of every split with all their columns, without a check that the named ones are there.

    Raises:
        UserError: the source is missing, or a file is malformed in these rows.
    """
    return _tables(data, wanted, rows)


def _tables(data: Data, wanted: Wanted, limit: int | None) -> dict[str, pa.Table]:
    if data.dataset_name == EMBEDDED:
        return {"train": docstrings.table(data.dataset_config_name, limit)}
    if data.dataset_name is not None:
        return _splits(_from_hub(data), data.dataset_name, data, wanted, limit)
    tables: dict[str, pa.Table] = {}
    seen: dict[Path, str] = {}
    for split, key, names in _given(data):
        path, *others = paths = [locate(name, key) for name in names]
        for again in paths:
            if again in seen:
                raise UserError(f"{key}: is the same file as {seen[again]}: {again}")
            seen[again] = key
        if others:
            tables[split] = read_files(paths, data.column_names, wanted, limit)
            continue
        if not path.is_dir():
            tables[split] = read_file(path, data.column_names, wanted, limit, data.file_format, data.sample_by)
            continue
        saved = _saved(path, key)
        if not isinstance(saved, dict):
            tables[split] = from_dataset(saved, path.as_posix(), path.name, wanted, limit)
        elif split == "train":
            tables = _splits(saved, path.as_posix(), data, wanted, limit)
        else:
            raise UserError(f"{key}: {path} holds several splits; name the folder of one: {path}/{min(saved)}")
    return {split: tables[split] for split in project.SPLITS if split in tables}


def _given(data: Data) -> Iterator[tuple[str, str, list[str]]]:
    """The split, the key and the paths of every file, or list of aligned files, that `data` names."""
    for split in project.SPLITS:
        if names := data.files(split):
            yield split, f"data.{split}_file", names


# Files


def locate(name: str, key: str) -> Path:
    """The path of a file or folder below data/raw/, relative to the working folder.

    Args:
        key: the key of params.yaml that names it.

    Raises:
        UserError: it lies elsewhere, or is missing; the message says how to get it there.
    """
    if half_pair(name):  # how Python shows bytes that are no UTF-8
        raise UserError(f"{key}: the file's name is not UTF-8: {name!a}. Rename it.")
    path = Path(os.path.normpath(name))
    if not path.is_relative_to(project.RAW) or path == project.RAW:
        inside = project.RAW / path.name
        message = f"{key}: '{name}' is not below {project.RAW}/, the folder that DVC watches."
        if inside.exists() and path != project.RAW:
            raise UserError(f"{message} Did you mean '{inside}'?")
        if path == project.RAW:
            raise UserError(f"{key}: name a file in {project.RAW}/. {_what_is_there()}")
        if not path.exists():
            raise UserError(f"{message} {_what_is_there()}")
        copy = "cp -r" if path.is_dir() else "cp"
        raise UserError(f"{message} Run\n{copy} {shlex.quote(name)} {project.RAW}/\nand set {key} to {inside}")
    if path.exists():
        return path
    pointers = (Path(f"{tracked}.dvc") for tracked in (path, *path.parents))
    pointer = next((found for found in pointers if found.exists()), None)
    if pointer is not None:
        raise UserError(
            f"{key}: {path} is tracked by DVC, but its content is not here: run dvc checkout {pointer}\n"
            f"(or dvc pull {pointer}, if it was added on another machine)"
        )
    original = project.home() / path
    if original.exists():
        # Only the pointer: DVC writes no .gitignore beside a file that git ignores already.
        file, pointed, message = (shlex.quote(text) for text in (f"{path}", f"{path}.dvc", f"Add {path.name}"))
        raise UserError(
            f"{key}: {path} is not in this temporary copy of the project, because git does not have it. Run\n"
            f"dvc add {file} && git add {pointed} && git commit -m {message}"
        )
    raise UserError(f"{key}: there is no {path}. {_what_is_there(path)}")


def _what_is_there(missing: Path | None = None) -> str:
    """The files below data/raw/, or the one that is nearest to a missing one."""
    found = (path for path in sorted(project.RAW.rglob("*")) if path.is_file())
    shown = (path.relative_to(project.RAW).as_posix() for path in found if not path.name.startswith("."))
    names = list(dict.fromkeys(name.removesuffix(".dvc") for name in shown))
    # Compared without the folder, which they share and which would make any two of them look alike.
    if missing is not None and (near := did_you_mean(missing.relative_to(project.RAW).as_posix(), names)):
        return near.strip().replace("'", f"'{project.RAW}/", 1)
    if not names:
        return f"{project.RAW}/ is empty: copy your file there."
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"{project.RAW}/ holds {', '.join(names[:_MAX_LISTED])}{more}."


# The `datasets` library; imported only where it is used, because that takes a second


def _saved(path: Path, key: str) -> Any:
    """A Dataset or DatasetDict that was saved to a folder."""
    from datasets import load_from_disk

    try:
        return load_from_disk(path.as_posix())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{key}: {path} is no folder saved by datasets' save_to_disk ({first_line(error)})") from None


def _from_hub(data: Data) -> Any:
    """The splits of a hub dataset."""
    name = str(data.dataset_name)
    if Path(name).exists():
        raise UserError(f"data.dataset_name: '{name}' is a path here; set train_file to it, and dataset_name to null")
    if "/" not in name and (near := did_you_mean(name, [EMBEDDED])):
        raise UserError(f"data.dataset_name: there is no dataset '{name}'.{near}")
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return load_dataset(name, data.dataset_config_name, revision=data.revision)
    except (DatasetsError, OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"data.dataset_name: cannot load '{name}' from the hub: {first_line(error)}\n"
            "Without a network, put its files below data/raw/, and name them in data.train_file."
        ) from None


def _splits(found: Mapping[str, Any], name: str, data: Data, wanted: Wanted, limit: int | None) -> dict[str, pa.Table]:
    """The tables of a DatasetDict."""
    datasets = {_SPELLINGS[spelled]: dataset for spelled, dataset in found.items() if spelled in _SPELLINGS}
    if "train" not in datasets:
        raise UserError(f"{name}: has no split 'train'; its splits are {', '.join(found)}")
    tables = {}
    for split in project.SPLITS:
        if split not in datasets:
            continue
        table = from_dataset(datasets[split], f"{name} ({split})", split, wanted, limit)
        targets = [name for name, key in wanted(table.column_names).items() if key == "data.label_column_name"]
        if split != "train" and any(table[target].null_count == len(table) for target in targets):
            print(f"{name} ({split}): has no labels, so {split} rows are cut off train instead", file=sys.stderr)
            continue
        tables[split] = table
    return tables
