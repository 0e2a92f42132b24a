"""The outcome of a retraining as a folder that a CI job can hand to the next, and the branch that proposes it."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline import dag, digest, json_file, project
from pipeline.errors import UserError
from pipeline.lifecycle import dvc_workspace
from pipeline.tracking.values import without_secrets

BRANCH = "reprise/retrain"
_REMOTE = "origin"
_OUTCOME, _FILES = "outcome.json", "files"
REPORT, COMMENT, TITLE = "report.md", "comment.md", "title.txt"

# What a retraining may change in git. The folder may come from another machine: nothing else is taken from it.
_PROPOSED = re.compile(r"params\.yaml|dvc\.lock|metrics/[\w-]+\.json|data/(raw|models)/([\w .@+-]+/)*[\w .@+-]+\.dvc")


@dataclass(frozen=True)
class Outcome:
    """What a retraining came to.

    Attributes:
        base: the commit that it started from; empty in a folder without git.
        verdict: of the gate, `passed` or `not passed`.
        run: the id of the MLflow run.
        version: the registered model, as `NAME/VERSION`.
        title: one line that says it all.
    """

    base: str
    verdict: str
    run: str
    version: str
    title: str


def gather(outcome: Outcome, report: str, folder: Path) -> None:
    """Write the outcome with the files to propose, the report and its figures into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in (project.PARAMS, dag.LOCK, *sorted(Path("metrics").glob("*.json")), *dvc_workspace.pointers()):
        if path.is_file() and _PROPOSED.fullmatch(path.as_posix()):
            (folder / _FILES / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / _FILES / path)
    figures = folder / "figures"
    figures.mkdir(parents=True)
    for figure in sorted((project.REPORTS / "figures").glob("*.png")):
        shutil.copy(figure, figures)
    (folder / REPORT).write_text(report, encoding="utf-8")
    (folder / TITLE).write_text(f"{outcome.title}\n", encoding="utf-8")
    json_file.write(folder / _OUTCOME, asdict(outcome))


def read(folder: Path) -> Outcome:
    """The outcome in a folder.

    Raises:
        UserError: there is none.
    """
    try:
        return Outcome(**json.loads((folder / _OUTCOME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{folder} holds no outcome of a retraining. Make one first: reprise retrain train --folder {folder}"
        ) from None


def propose(folder: Path) -> str | None:
    """Push a commit with the outcome's files to the branch `reprise/retrain`, and nothing of the working tree else.

    Returns:
        The commit; None if the branch has these very files already.

    Raises:
        UserError: git cannot push, or somebody else pushed to the branch in the same moment.
    """
    outcome = read(folder)
    if not outcome.base or git("cat-file", "-e", f"{outcome.base}^{{commit}}") is None:
        raise UserError(f"The outcome in {folder} was made from the commit '{outcome.base}', which is not here.")
    tree = _tree(outcome.base, folder / _FILES)
    reference = f"refs/heads/{BRANCH}"
    there = _asked("ls-remote", _REMOTE, reference).partition("\t")[0]
    if there:
        _asked("fetch", "--quiet", _REMOTE, reference)
        if git("rev-parse", f"{there}^{{tree}}") == tree:
            return None
    message = f"{outcome.title}\n\nMLflow run {outcome.run}, registered as {outcome.version}."
    commit = _asked("commit-tree", tree, "-p", outcome.base, "-m", message)
    # The lease names what was just there: who pushed in between is not overwritten.
    _asked("push", "--quiet", f"--force-with-lease={reference}:{there}", _REMOTE, f"{commit}:{reference}")
    return commit


def head() -> str:
    """The commit that is checked out; empty without git."""
    return git("rev-parse", "--verify", "--quiet", "HEAD") or ""


def committed(path: Path) -> str:
    """The text of a file in the commit that is checked out; empty if that has none."""
    return git("show", f"HEAD:{path.as_posix()}") or ""


def differs(path: Path) -> bool:
    """Whether a file is another than in the commit that is checked out."""
    if not head() or not path.exists():
        return False
    return digest.of_value(committed(path).strip()) != digest.of_value(path.read_text(encoding="utf-8").strip())


def check_committed() -> None:
    """Check that nothing is changed but what is proposed: else the branch would lack what the results were made of.

    Raises:
        UserError: something is, or this is no git clone with a remote.
    """
    if not head():
        raise UserError("There is no git commit here to propose results on. Keep them to yourself: --no-push")
    if git("remote", "get-url", _REMOTE) is None:
        raise UserError(f"git has no remote '{_REMOTE}' to propose results to. Keep them to yourself: --no-push")
    entries = _asked("status", "--porcelain=v1", "-z", "--untracked-files=no").split("\0")
    changed = [entry[3:] for entry in entries if len(entry) > 3 and not _PROPOSED.fullmatch(entry[3:])]
    if changed:
        raise UserError(
            f"These files are changed, but not committed: {', '.join(changed[:5])}{' ...' if changed[5:] else ''}\n"
            "Results that they led to cannot be proposed without them. Commit them first, or: --no-push"
        )


def _tree(base: str, files: Path) -> str:
    """The tree of a commit with these files in it, written without touching the index or the working tree."""
    with tempfile.TemporaryDirectory() as scratch:
        own = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        _asked("read-tree", base, environment=own)
        for path in sorted(path for path in files.rglob("*") if path.is_file() and not path.is_symlink()):
            name = path.relative_to(files).as_posix()
            if not _PROPOSED.fullmatch(name):
                raise UserError(f"{path}: a retraining proposes no such file. Nothing was pushed.")
            blob = _asked("hash-object", "-w", "--no-filters", str(path.resolve()))
            _asked("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}", environment=own)
        return _asked("write-tree", environment=own)


def git(*command: str, environment: Mapping[str, str] | None = None) -> str | None:
    """What git answers, without the last line's end; None if it fails."""
    answer = _git(command, environment)
    return answer.stdout.rstrip("\n") if answer.returncode == 0 else None


def _asked(*command: str, environment: Mapping[str, str] | None = None) -> str:
    answer = _git(command, environment)
    if answer.returncode != 0:
        said = without_secrets(" ".join(answer.stderr.split()))
        raise UserError(f"git {command[0]} failed: {said[:500]}")
    return answer.stdout.rstrip("\n")


def _git(command: tuple[str, ...], environment: Mapping[str, str] | None) -> "subprocess.CompletedProcess[str]":
    # Never a question: in CI nobody answers.
    own = {**os.environ, "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
    return subprocess.run(("git", *command), env=own, capture_output=True, encoding="utf-8", errors="replace")
