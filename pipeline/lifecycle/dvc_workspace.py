"""DVC in the workspace: what it says of it, and its commands that take long."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from pipeline import project
from pipeline.errors import UserError
from pipeline.lifecycle import dvc
from pipeline.tracking.values import without_secrets

_NO_SUCH_VALUE = 251  # what `dvc config` exits with when the option is not set


def pointers() -> list[Path]:
    """The `.dvc` files of the rows and pretrained models that DVC keeps, in order."""
    return sorted(path for folder in (project.RAW, project.MODELS) for path in folder.rglob("*.dvc") if path.is_file())


def read_pointer(pointer: Path) -> dict[str, Any]:
    """What a `.dvc` file says: its `outs`, and the `deps` of an import."""
    values: dict[str, Any] = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    return values


def targets(pointer: Path) -> list[tuple[Path, str | None]]:
    """The path and the hash of what a `.dvc` file stands for."""
    return [(pointer.parent / out["path"], out.get("md5")) for out in read_pointer(pointer)["outs"]]


def status(stages: Sequence[str]) -> dict[str, list[Any]]:
    """What `dvc status` says of these stages.

    Raises:
        UserError: DVC cannot tell.
    """
    answer = _quiet("status", "--json", *stages)
    if answer.returncode != 0:
        raise UserError(f"dvc status failed. {_complaint(answer)}")
    found: dict[str, list[Any]] = json.loads(answer.stdout or "{}")
    return found


def has_remote() -> bool:
    """Whether a default remote is configured.

    Raises:
        UserError: DVC cannot read its configuration.
    """
    answer = _quiet("config", "core.remote")
    if answer.returncode not in (0, _NO_SUCH_VALUE):
        raise UserError(f"dvc config failed. {_complaint(answer)}")
    return bool(answer.stdout.strip())


def refresh(pointer: Path, download: bool) -> None:
    """Have an import look at its source again.

    Raises:
        UserError: the source cannot be read.
    """
    answer = _quiet("update", *(() if download else ("--no-download",)), str(pointer))
    if answer.returncode != 0:
        raise UserError(f"The source of {pointer} cannot be read. {_complaint(answer)}")


def pull() -> None:
    """Fetch the run cache and the data that `.dvc` files stand for, and put data that is missing in its place.

    A remote that has no run cache yet is none the worse; one that refuses, or lacks the data, is an error.

    Raises:
        UserError: the remote does not answer or refuses, or the data is not there.
    """
    # Without a target DVC fetches the results of all stages, where `repro --pull` takes what it needs. check has none.
    answer = _quiet("fetch", "--run-cache", "check", *map(str, pointers()))
    if answer.returncode != 0:
        raise UserError(f"Nothing can be fetched from the DVC remote. {_complaint(answer)}")
    missing = [pointer for pointer in pointers() if not all(path.exists() for path, _ in targets(pointer))]
    if missing and (answer := _quiet("checkout", *map(str, missing))).returncode != 0:
        raise UserError(
            f"The DVC remote lacks the data of {', '.join(map(str, missing))}.\n"
            "Push it from where it was added: dvc push"
        )


def push() -> None:
    """Send the results and the run cache to the remote.

    Raises:
        UserError: the remote does not take them.
    """
    answer = _quiet("push", "--run-cache")
    if answer.returncode != 0:
        raise UserError(
            f"The results could not be pushed to the DVC remote, so nothing was proposed. {_complaint(answer)}"
        )


def repro(with_remote: bool) -> None:
    """Run what changed. Results that the remote has are fetched and not made again.

    Raises:
        UserError: a stage failed; it has said why.
        KeyboardInterrupt: it was asked to stop; whole steps of a training are saved.
    """
    if with_remote:
        # The output of check is in no cache: `--pull` would take the stage for done, and the others would miss it.
        _run("repro", "check")
    _run("repro", *(("--pull",) if with_remote else ()))


def _run(*command: str) -> None:
    # In a session of its own: a runner that cancels signals this process alone, and a signal to `dvc` alone would leave
    # the training running. So the signal goes to the whole group, as Ctrl-C in a terminal does.
    with (
        subprocess.Popen((*dvc.PROGRAM, *command), env=dvc.variables(), start_new_session=True) as process,
        _passing_on(process) as stopped,
    ):
        code = process.wait()
    if stopped:
        raise KeyboardInterrupt
    if code != 0:
        raise UserError(f"dvc {' '.join(command)} failed; the stage says above why.")


@contextmanager
def _passing_on(process: "subprocess.Popen[bytes]") -> Iterator[list[int]]:
    """SIGINT and SIGTERM reach the whole group of a process; yields those that came.

    The first goes on as SIGINT: DVC waits then for its stage, where a SIGTERM ends it at once.
    """
    came: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT if len(came) == 1 else number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quiet(*command: str) -> "subprocess.CompletedProcess[str]":
    return dvc.run(Path(), *command)


def _complaint(answer: "subprocess.CompletedProcess[str]") -> str:
    """DVC's own words, the first line of them that is an error; an address in it may have held a password."""
    lines = [line.strip() for line in without_secrets(answer.stderr).splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("ERROR")), (lines or ["DVC says nothing more."])[-1])
