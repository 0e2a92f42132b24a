"""What a retraining would do, told from what git has: without the data, without torch, without a login to anything."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline import dag
from pipeline.errors import UserError, did_you_mean
from pipeline.lifecycle import dvc_workspace, proposal

STAGES = ("check", "prepare", "tokenize", "train", "evaluate")

# How `dvc status` calls what is not here. In a fresh clone that is every result, and no change.
_NOT_HERE = ("deleted", "not in cache")
_NO_DATA = {".gitignore"}  # as .dvcignore has it


def pointer_of(named: str) -> Path:
    """The `.dvc` file of an import, by its own name or by that of its data.

    Raises:
        UserError: there is no such import.
    """
    imports = [pointer for pointer in dvc_workspace.pointers() if "deps" in dvc_workspace.read_pointer(pointer)]
    wanted = Path(named if named.endswith(".dvc") else f"{named}.dvc")
    for pointer in imports:
        if pointer == wanted:
            return pointer
    known = [pointer.as_posix() for pointer in imports]
    raise UserError(
        f"--update {named}: there is no import of that name. The imports are: {', '.join(known) or 'none'}."
        f"{did_you_mean(wanted.as_posix(), known)}\nMake one: dvc import-url ADDRESS data/raw/NAME"
    )


def reasons(update: Path | None) -> list[str]:
    """Why something would run or be proposed, a line each; none if git has the results of all that is here.

    Args:
        update: the `.dvc` file of an import whose source is asked for something new; nothing is downloaded.

    Raises:
        UserError: the source cannot be read, or DVC cannot tell.
    """
    found = [f"{update}: its source has changed"] if update and _has_news(update) else []
    found += _of_stages(dvc_workspace.status(STAGES))
    if not found and proposal.differs(dag.LOCK):
        found.append(f"{dag.LOCK}: these results are not committed")
    return found


def _has_news(pointer: Path) -> bool:
    before = pointer.read_bytes()
    try:
        known = dvc_workspace.read_pointer(pointer)["deps"]
        dvc_workspace.refresh(pointer, download=False)
        return bool(dvc_workspace.read_pointer(pointer)["deps"] != known)
    finally:
        pointer.write_bytes(before)


def _of_stages(status: Mapping[str, Sequence[Any]]) -> list[str]:
    lock = yaml.safe_load(dag.LOCK.read_text(encoding="utf-8")) if dag.LOCK.exists() else {}
    locked = (lock or {}).get("stages", {})
    never = [f"{stage}: it has never run" for stage in STAGES if stage not in locked]
    if never:
        return never
    made = {out["path"]: out.get("md5") for entry in locked.values() for out in entry.get("outs", ())}
    found = []
    for stage, entries in status.items():
        deps = {dep["path"]: dep.get("md5") for dep in locked[stage].get("deps", ())}
        for kind, name, what in _changes(entries):
            missing = what in _NOT_HERE
            if missing and (kind == "changed outs" or (name in made and made[name] == deps.get(name))):
                continue
            if kind == "changed deps" and name in deps and _as_git_has_it(Path(name)) == deps[name]:
                continue
            found.append(f"{stage}: {name} ({what})" if name else f"{stage}: {what}")
    return found


def _changes(entries: Sequence[Any]) -> Iterator[tuple[str, str, str]]:
    """Of what DVC says of a stage: the kind of change, the path or key, and what it calls it."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry, "", entry
            continue
        for kind, changed in entry.items():
            for name, what in changed.items():
                if isinstance(what, dict):
                    yield from ((kind, key, how) for key, how in what.items())
                else:
                    yield kind, name, what


def _as_git_has_it(folder: Path) -> str | None:
    """The hash of a folder with the data of its `.dvc` files in place, whether or not it is here; None: cannot tell."""
    if not folder.is_dir():
        return None
    files = {
        path: dag.md5(path) for path in folder.rglob("*") if path.is_file() and not _NO_DATA.intersection(path.parts)
    }
    for pointer in folder.rglob("*.dvc"):
        for path, md5 in dvc_workspace.targets(pointer):
            if md5 is None or md5.endswith(".dir"):
                return None
            files.setdefault(path, md5)
    return dag.of_files({path.relative_to(folder).as_posix(): md5 for path, md5 in files.items()})
