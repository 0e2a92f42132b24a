"""Processes that need not import first: forked from one that has, each in a session of its own.

A line of JSON asks for something, and one answers: `{"start": [MODULE, ARGUMENTS, FOLDER, LOGS, ENVIRONMENT]}` its
process, `{"ended": PROCESS}` its exit code, or null while it runs. Its arguments are the modules to import first.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]


class Nursery:
    """Starts `python -m MODULE` many times, and imports once.

    Args:
        modules: what the processes need not import any more.
    """

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", *modules],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)  # the end of its input is its end

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        errors: Path | None = None,
    ) -> int:
        """Start a module in a folder; what it says goes to the end of the log.

        Args:
            environment: all of it.
            errors: another log for what it says on its standard error.
        """
        logs = [str(log), str(errors or log)]
        return int(self._ask(start=[module, [*arguments], str(folder), logs, {**environment}]))

    def ended(self, process: int) -> int | None:
        """Its exit code, told once; negative for a signal."""
        code: int | None = self._ask(ended=process)
        return code

    def wait(self, process: int, seconds: float) -> int:
        """Its exit code, when it has ended."""
        deadline = time.monotonic() + seconds
        while (code := self.ended(process)) is None:
            assert time.monotonic() < deadline, f"process {process} did not end"
            time.sleep(0.02)
        return code

    def _ask(self, **question: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@functools.cache
def nursery(*modules: str) -> Nursery:
    """The one of this test process that has imported these."""
    return Nursery(*modules)


def answer(
    start: tuple[str, list[str], str, list[str], dict[str, str]] | None = None, ended: int | None = None
) -> int | None:
    if ended is not None:
        pid, status = os.waitpid(ended, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    assert start is not None
    if process := os.fork():
        return process
    module, arguments, folder, logs, environment = start
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for output, log in enumerate(logs, 1):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), output)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)  # it becomes the main module
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
