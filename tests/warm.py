"""A `python -m MODULE` that need not import what takes seconds: it is forked from a process that has.

That holds nothing of Reprise, whatever it has imported: what runs is the code of the folder that it is started in.
A signal to this `python` does not reach what it runs.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from tests.nursery import REPOSITORY, become

# What the stages import at their head, and what they import on the way.
STAGES = (
    "matplotlib.backends.backend_agg",
    "pandas",
    "pipeline.tracking.run",
    "pipeline.training.train",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    *(f"stages.{stage}" for stage in ("check", "prepare", "tokenize", "train", "evaluate")),
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
)
_PYTHON = """#!/bin/sh
[ "$1" = -m ] || exec {python} "$@"
exec {python} -IS {asking} "$@"
"""
_ASKING = """import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked, asked.makefile("rw") as file:
    asked.connect({address!r})
    socket.send_fds(asked, [b" "], [0, 1, 2])
    print(json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]), file=file, flush=True)
    code = int(file.readline() or 1)
sys.exit(code if code >= 0 else 128 - code)
"""


@functools.cache
def python(*modules: str) -> Path:
    """The program of this test process that has imported these, in a folder that has nothing else."""
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    address = folder / "socket"
    program = folder / "bin/python"
    program.parent.mkdir()
    asking = folder / "asking.py"
    asking.write_text(_ASKING.format(address=str(address)))
    program.write_text(_PYTHON.format(python=shlex.quote(sys.executable), asking=shlex.quote(str(asking))))
    program.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", str(address), *modules],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
    )

    def end() -> None:
        server.communicate()  # the end of its input is its end
        shutil.rmtree(folder)

    atexit.register(end)
    while not address.exists():
        assert server.poll() is None
        time.sleep(0.02)
    return program


def serve(address: str) -> None:
    """Answer each that asks in a process of its own, until the input ends."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            asked, _ = listening.accept()
            if os.fork() == 0:
                answer(asked)
            asked.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def answer(asked: socket.socket) -> NoReturn:
    """Fork what was asked for, and tell its exit code."""
    _, streams, _, _ = socket.recv_fds(asked, 1, 3)
    file = asked.makefile("rw")
    (module, *arguments), folder, environment = json.loads(file.readline())
    if process := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        print(code, file=file, flush=True)
        os._exit(0)
    os.chdir(folder)
    sys.path.insert(0, folder)
    become(module, arguments, environment, streams)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pipeline", "stages")]:
        del sys.modules[name]
    gc.freeze()
    sys.path[:] = [path for path in sys.path if path != str(REPOSITORY)]
    serve(sys.argv[1])
