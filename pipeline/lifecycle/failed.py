"""Queued DVC experiments that failed, and the commands that queue them again."""

import shlex
from dataclasses import dataclass

import yaml

from pipeline import project
from pipeline.tracking import git, values

# DVC stashes each task that failed as a commit on this ref, named `dvc-exp:REV:BASELINE:NAME`.
_REF = "refs/exps/celery/failed"


@dataclass(frozen=True)
class Failed:
    """A task of the queue that failed.

    Attributes:
        task: what `dvc queue logs` takes.
        again: the command that queues it once more.
    """

    task: str
    name: str
    again: str


def failed() -> list[Failed]:
    """The tasks of the queue that failed and were not removed from it, the newest first; fast where there are none."""
    found = (
        git.text("reflog", "show", "--format=%H %P %gs", _REF) if git.text("rev-parse", "-q", "--verify", _REF) else ""
    )
    tasks = []
    for line in (found or "").splitlines():
        commit, base, *_ = line.split(" ")
        name = line.rpartition(":")[2]
        tasks.append(Failed(commit[:7], name, _again(name, commit, base)))
    return tasks


def _again(name: str, commit: str, base: str) -> str:
    before, after = (_params(revision) for revision in (base, commit))
    changed = [f"{path}={value}" for path, value in after.items() if before.get(path) != value]
    settings = " ".join(f"-S {shlex.quote(setting)}" for setting in changed)
    return f"dvc exp run --queue -n {shlex.quote(name)} {settings}".rstrip()


def _params(revision: str) -> dict[str, str]:
    text = git.text("show", f"{revision}:./{project.PARAMS.as_posix()}")
    loaded = yaml.safe_load(text) if text else None
    return values.flatten(loaded) if isinstance(loaded, dict) else {}
