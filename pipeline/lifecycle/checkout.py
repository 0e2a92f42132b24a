"""A run's commit, patch, params and data in a folder of their own; the present working tree stays as it is."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from pipeline import dag, digest, project
from pipeline.errors import UserError
from pipeline.lifecycle import dvc_checkout
from pipeline.tracking import git, lineage, store
from pipeline.tracking.records import Record
from pipeline.tracking.values import without_secrets

_SECONDS = 600
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# Hooks may run `dvc checkout` and more, which is done here in its own time.
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")


@dataclass(frozen=True)
class Tree:
    """A run's files.

    Attributes:
        root: git's worktree.
        folder: the project in it: the same, or below it.
        origin: what lineage.json says of the run.
        missing: what could not be had, a line each.
    """

    root: Path
    folder: Path
    origin: Mapping[str, Any]
    missing: tuple[str, ...]


def origin(record: Record) -> dict[str, Any]:
    """What lineage.json says of a run.

    Raises:
        UserError: it has none, or not one of ours.
    """
    content = record.read(lineage.LINEAGE)
    if content is None:
        raise UserError(
            f"The run {record.name} ({record.id}) has no {lineage.LINEAGE}: it did not get so far, or was made before "
            "runs recorded where they come from."
        )
    found: dict[str, Any] = json.loads(content)
    where = found["git"] or {}
    paths = [where.get("folder", ""), *(file["path"] for file in found.get("kept_nowhere", ()))]
    # Whoever may write to MLflow could have written it: no option for git, and no path that leads out of the folder.
    if not _COMMIT.fullmatch(where.get("commit", "0" * 40)) or any(map(_leads_out, paths)):
        raise UserError(f"The {lineage.LINEAGE} of the run {record.name} ({record.id}) is none that Reprise wrote.")
    return found


def _leads_out(path: str) -> bool:
    return Path(path).is_absolute() or ".." in Path(path).parts


def beside(record: Record) -> Path:
    """Where a run is checked out to, if nobody says where: a folder beside the project, named after the run's id."""
    home = project.home()
    return home.with_name(f"{home.name}-{record.id[:8]}")


def check_out(record: Record, into: Path) -> Tree:
    """Make a git worktree as the run found it: its commit, its changes, its params and its data.

    It shares the project's DVC cache and remotes.

    Raises:
        UserError: the folder exists, or the run's commit is not known, or not here.
    """
    found = origin(record)
    if into.exists():
        raise UserError(f"{into} is there already. Name a new folder: --into FOLDER")
    _add_worktree(found["git"], into, record)
    try:
        folder = into / found["git"]["folder"]
        _apply(record, into)
        _check_links(record, into, folder)
        _write_params(record, folder)
        _write_lock(record, folder, found["stage"] or "train")
        dvc_checkout.share(project.home(), folder)
        known = {f"{found['git']['folder']}{file['path']}" for file in found["kept_nowhere"]}
        unknown = [file for file in found["left_out"] if file["path"] not in known]
        missing = [f"{file['path']}: its change was not recorded, as {file['reason']}" for file in unknown]
        missing += [*dvc_checkout.bring(folder), *_bring_unkept(found["kept_nowhere"], folder)]
    except BaseException:
        remove(into)
        raise
    return Tree(into, folder, found, tuple(missing))


def share_database(folder: Path) -> None:
    """Have what runs in the folder write to the project's own MLflow database, if no server or other file is named."""
    uri, home = store.tracking_uri(), project.home()
    database = Path(unquote(urlsplit(uri).path[1:]))
    if uri.startswith("sqlite:") and database.is_file() and database.is_relative_to(home):
        link = folder / database.relative_to(home)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(database.resolve())


def remove(root: Path) -> None:
    """Remove a worktree with all that is in it."""
    git.output("worktree", "remove", "--force", "--force", str(root))
    shutil.rmtree(root, ignore_errors=True)
    git.output("worktree", "prune")


def _add_worktree(where: Mapping[str, Any] | None, into: Path, record: Record) -> None:
    if where is None:
        raise UserError(
            f"The run {record.name} ({record.id}) was made in a folder without git (or without a commit), so its code "
            "is not recorded.\nIts params.yaml, its versions and its model are among its artifacts in MLflow."
        )
    commit = where["commit"]
    if git.output("cat-file", "-e", f"{commit}^{{commit}}") is None:
        git.output("fetch", "--quiet", "origin", commit, environment={"GIT_TERMINAL_PROMPT": "0"})
    if git.output("cat-file", "-e", f"{commit}^{{commit}}") is None:
        place = " of ".join(filter(None, (where["branch"] and f"branch {where['branch']}", where["remote"])))
        raise UserError(
            f"The run's commit {commit} ({place or 'no branch and no remote recorded'}) is not in this repository, and "
            "its remote does not give it.\nFetch it (git fetch), or run this in the clone that has it."
        )
    made = _git(*_NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(into), commit)
    if made.returncode:
        shutil.rmtree(into, ignore_errors=True)
        raise UserError(f"git cannot make a worktree in {into}: {_last_line(made.stderr)}")


def _apply(record: Record, root: Path) -> None:
    patch = record.read(lineage.PATCH)
    if patch:
        done = _git("-C", str(root), "apply", "--binary", "--whitespace=nowarn", "-", given=patch)
        if done.returncode:
            raise UserError(
                f"The changes of the run {record.name} ({record.id}) do not fit its commit: {_last_line(done.stderr)}"
            )


def _check_links(record: Record, root: Path, folder: Path) -> None:
    """Make sure that what is written next lands in the worktree: a patch may have made links of these files."""
    for path in (project.PARAMS, dag.LOCK, dvc_checkout.SETTINGS):
        if not dvc_checkout.is_below(root, folder / path):
            raise UserError(f"In the run {record.name} ({record.id}) a link leads {path} out of its folder.")


def _git(*command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(("git", *command), input=given, capture_output=True, timeout=_SECONDS)


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return without_secrets(lines[-1]) if lines else "it does not say why"


def _write_params(record: Record, folder: Path) -> None:
    """Write params.yaml as recorded where commit and patch do not give it: it may have been left out for a secret."""
    recorded = record.read(project.PARAMS.as_posix())
    file = folder / project.PARAMS
    if recorded is None or (file.is_file() and _agrees(_values(file.read_bytes()), _values(recorded))):
        return
    file.write_bytes(recorded)


def _values(text: bytes) -> Any:
    return yaml.safe_load(without_secrets(text.decode()))


def _agrees(written: object, recorded: object) -> bool:
    """Whether all that is written was recorded; what is not written has its default."""
    if isinstance(written, dict) and isinstance(recorded, dict):
        return all(name in recorded and _agrees(value, recorded[name]) for name, value in written.items())
    return written == recorded


def _write_lock(record: Record, folder: Path, stage: str) -> None:
    """Write the dvc.lock that the run found, without what its own results replaced afterwards."""
    lock = record.read(lineage.LOCK)
    pipeline = (folder / dag.FILE).read_text(encoding="utf-8")
    if lock is not None:
        text = dag.without_results(lock.decode(), pipeline, stage)
        (folder / dag.LOCK).write_text(text, encoding="utf-8")


def _bring_unkept(files: list[Mapping[str, Any]], folder: Path) -> Iterator[str]:
    """Copy the files that neither git nor DVC keeps from the project, where they still are what they were."""
    for file in files:
        present, target = project.home() / file["path"], folder / file["path"]
        if not dvc_checkout.is_below(folder, target):
            yield f"{file['path']}: a link leads out of the folder"
            continue
        if present.is_file() and present.stat().st_size == file["bytes"] and digest.of_file(present) == file["sha256"]:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(present, target)
            continue
        here = "the one in the project is another" if present.is_file() else "the project has none"
        yield (
            f"{file['path']} ({file['bytes']:,} bytes, SHA-256 {file['sha256']}): neither git nor DVC keeps it, and "
            f"{here}. Put it there: {target}"
        )
