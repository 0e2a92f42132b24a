"""Stages that need not import first: forked from a process that has, each in a session of its own.

The workers that a stage starts itself import all by themselves, as ever. A line of JSON asks for something, and one
answers: `{"start": [FOLDER, LOG]}` its process, `{"ended": PROCESS}` its exit code, or null while it runs.
"""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]


class Nursery:
    """Starts `python -m stages.train` many times, and imports once."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.nursery"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # the end of its input is its end

    def start(self, folder: Path, log: Path) -> int:
        """The stage in a project folder; what it says goes to the end of the log."""
        return int(self._ask(start=[str(folder), str(log)]))

    def ended(self, process: int) -> int | None:
        """Its exit code, told once; negative for a signal."""
        code: int | None = self._ask(ended=process)
        return code

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def answer(start: tuple[str, str] | None = None, ended: int | None = None) -> int | None:
    if ended is not None:
        pid, status = os.waitpid(ended, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    assert start is not None
    if process := os.fork():
        return process
    folder, log = start
    os.setsid()
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for output in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), output)
    sys.argv = ["stages.train"]
    runpy.run_module("stages.train", run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    import stages.train

    del sys.modules["stages.train"], stages.train  # it becomes the main module
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
