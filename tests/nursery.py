"""Processes that need not import first: forked from one that has, each in a session of its own.

A line of JSON asks for something, and one answers: `{"start": [MODULE, ARGUMENTS, FOLDER, LOG, ENVIRONMENT]}` its
process, `{"ended": PROCESS}` its exit code, or null while it runs. Its arguments are the modules to import first.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

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
    ) -> int:
        """Start a module in a folder, in this environment; what it says goes to the end of the log."""
        return int(self._ask(start=[module, [*arguments], str(folder), str(log), {**environment}]))

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
    start: tuple[str, list[str], str, str, dict[str, str]] | None = None, ended: int | None = None
) -> int | None:
    if ended is not None:
        pid, status = os.waitpid(ended, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None
    assert start is not None
    process = os.fork()
    if not process:
        module, arguments, folder, log, environment = start
        os.setsid()
        os.chdir(folder)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        become(module, arguments, environment, [os.open(os.devnull, os.O_RDONLY), said, said])
    return process


def become(module: str, arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[int]) -> NoReturn:
    """Be `python -m MODULE ARGUMENTS` in a forked process, to the end.

    All that Python does at the end is done, but for the taking apart of every module: of what was imported before the
    fork that would copy most of the memory, and take a second.
    """
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-m", *arguments]
    if not hasattr(sys.modules.get(module), "__path__"):  # of a package, another one does
        sys.modules.pop(module, None)  # it becomes the main module
    code: object = None
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for output in (sys.stdout, sys.stderr):
        output.flush()
    os._exit(int(code) if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # whoever is forked looks through none of it, nor copies it
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
