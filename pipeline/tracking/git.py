"""Questions to git: an answer, or None where there is no git, no repository, or no such thing in it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SECONDS = 60
_WHO = {"NAME": "reprise", "EMAIL": "reprise@localhost"}


def output(*command: str, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> bytes | None:
    """What git prints, or None if it fails or is not there.

    Args:
        folder: where it is asked; the present folder if None.
        environment: variables on top of the present ones.
    """
    # Without optional locks, `git status` does not get in the way of the git commands that DVC runs.
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", **(environment or {})}
    try:
        answer = subprocess.run(("git", *command), capture_output=True, timeout=_SECONDS, env=variables, cwd=folder)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def text(*command: str, folder: Path | None = None) -> str | None:
    """The same as text, without white space around it."""
    answer = output(*command, folder=folder)
    return None if answer is None else answer.decode("utf-8", errors="replace").strip()


def names(*command: str, environment: Mapping[str, str] | None = None) -> list[str] | None:
    """The file names that git lists when it is asked with ``-z``; bytes that are no UTF-8 are kept as surrogates."""
    answer = output(*command, environment=environment)
    return None if answer is None else [os.fsdecode(name) for name in answer.split(b"\0") if name]


def given(content: bytes, *command: str) -> str:
    """What git answers to something that it is given: the name of an object that it makes of it.

    Raises:
        subprocess.CalledProcessError: git fails.
    """
    # A commit wants an author, and not everybody has told git who they are.
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()}
    answer = subprocess.run(("git", *command), input=content, capture_output=True, check=True, env=os.environ | who)
    return answer.stdout.decode().strip()


def base() -> str | None:
    """The commit that the files here are a change of: HEAD, or what a DVC experiment started from.

    Under ``dvc exp run`` HEAD may be a commit that is removed after the experiment.
    """
    baseline = os.environ.get("DVC_EXP_BASELINE_REV")
    found = text("rev-parse", "--verify", "--quiet", f"{baseline}^{{commit}}") if baseline else None
    return found or text("rev-parse", "--verify", "--quiet", "HEAD^{commit}")


def experiments() -> list[tuple[str, str]]:
    """Commit and name of every DVC experiment, the newest first."""
    answer = text("for-each-ref", "--sort=-committerdate", "--format=%(objectname) %(refname)", "refs/exps/") or ""
    refs = (line.split(" ", 1) for line in answer.splitlines())
    return [(commit, ref.rpartition("/")[2]) for commit, ref in refs]


def experiment(name: str) -> str | None:
    """The commit of a DVC experiment, the newest of that name."""
    return next((commit for commit, known in experiments() if known == name), None)
