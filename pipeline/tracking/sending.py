"""The run's side of its sender: starting it, hearing what MLflow says first, and waiting for it at the end."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

import pipeline
from pipeline.errors import UserError
from pipeline.tracking.journal import Journal
from pipeline.tracking.sent import Phase
from pipeline.tracking.values import without_secrets

_IMPORT_SECONDS, _ANSWER_SECONDS = 60.0, 10.0
_QUIET_SECONDS = 2.0  # the end of a run says nothing of a wait that is shorter
_STUCK_SECONDS = 30.0  # without a sign, and beyond what a request may take
_POLL = 0.02
_FAILURES, _LONG_ENOUGH = 5, 60.0
_importing: list["subprocess.Popen[str]"] = []


@contextmanager
def ahead() -> Iterator[None]:
    """Have a sender import MLflow already, which takes seconds; the first run within the block takes it over.

    For the main thread alone: the kernel ends a process with the thread that started it.
    """
    _importing.append(_started())
    try:
        yield
    finally:
        while _importing:  # no run began
            with _importing.pop() as process:
                process.kill()


@final
class Sending:
    """A sender, kept alive by a thread that passes its lines on.

    The thread starts it, and outlives it: the kernel ends a process with the thread that started it.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._closing, self._given_up = threading.Event(), False
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True, name="sender")

    def start(self) -> None:
        """Start it, and wait for its word on MLflow, but not for long.

        Raises:
            UserError: MLflow does not fit, refuses the login, or its experiment is deleted.
        """
        self._journal.tell(Phase())
        self._thread.start()
        begun = time.monotonic()
        asking: float | None = None
        while self._thread.is_alive() and time.monotonic() - begun < _IMPORT_SECONDS:
            phase = self._journal.phase()
            if phase.name in ("open", "away"):
                return
            if phase.name == "refused":
                self.stop()
                raise UserError(phase.text)
            if phase.name == "asking":
                asking = asking or time.monotonic()
                if time.monotonic() - asking > _ANSWER_SECONDS:
                    break
            time.sleep(_POLL)
        say("MLflow has not answered yet; the run goes on, and is sent when it does.")

    def finish(self) -> int:
        """Wait while it sends what is left; how many entries are left when it gives up."""
        self._closing.set()
        with self._lock:
            self._tell_closing()
        began = moved = time.monotonic()
        seen, said = self._journal.moved(), False
        while self._thread.is_alive():
            self._thread.join(_POLL)
            now = time.monotonic()
            if self._journal.moved() != seen:
                seen, moved = self._journal.moved(), now
            if not said and now - began > _QUIET_SECONDS and (left := self._journal.all_left()):
                said = True
                say(f"Sending {left:,} entries to MLflow ...")
            if now - moved > _STUCK_SECONDS + self._journal.phase().patience:
                break
        self.stop()
        return self._journal.all_left()

    def stop(self) -> None:
        """End it at once."""
        self._closing.set()
        self._given_up = True
        with self._lock:
            if self._process is not None:
                self._process.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _name_journal(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(f"{self._journal.id}\n")
            self._process.stdin.flush()
        except OSError:  # something has killed it already
            with suppress(OSError):
                self._process.stdin.close()

    def _tell_closing(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it has ended, or was told before
                self._process.stdin.write("\n")
                self._process.stdin.close()

    def _keep(self) -> None:
        """Start the sender, pass on what it says, and start it again if something has killed it."""
        failures = 0
        while not self._given_up:
            began = time.monotonic()
            if self._run() == 0 or self._given_up:
                return
            failures = 1 if time.monotonic() - began > _LONG_ENOUGH else failures + 1
            if failures == _FAILURES:
                say("The sender to MLflow ended by itself several times; the run goes on. Send it later: reprise sync")
                return
            self._closing.wait(2.0**failures)

    def _run(self) -> int:
        """One life of the sender, up to its exit code."""
        with _importing.pop() if _importing else _started() as process:
            with self._lock:
                self._process = process
                self._name_journal()
                if self._closing.is_set():
                    self._tell_closing()
                if self._given_up:
                    process.kill()
            assert process.stderr is not None
            for line in process.stderr:
                say(line.rstrip())
            return process.wait()


def _started() -> "subprocess.Popen[str]":
    """A sender, which imports MLflow and waits for the id of a journal."""
    root = str(Path(pipeline.__file__).parents[1])
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    # A session of its own: Ctrl-C is for the run, which tells the sender to finish.
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "pipeline.tracking.sender", str(os.getpid())],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def say(text: str) -> None:
    """Print a line; a progress bar on the terminal puts it above itself."""
    print(without_secrets(text), file=sys.stderr, flush=True)
