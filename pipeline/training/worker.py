"""A process that torch elastic has started for us: it does its work, hears signals, and tells how it ended."""

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NoReturn

from pipeline.environment import LAUNCHER, die_with
from pipeline.errors import UserError

PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: the state is saved, and the same command goes on from it
AGAIN = 85  # ERESTART of Linux: all workers have to start again, at once
_INTERRUPTED = 130

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@dataclass(frozen=True)
class Job:
    """What a worker gets. One value, since elastic replaces `${...}` in arguments that are texts."""

    entry: Callable[..., None]
    arguments: tuple[Any, ...]
    launcher: int
    tell: tuple["Connection[int | End, Any]", ...]  # each rank's end of a pipe; a full disk would lose a file


@dataclass(frozen=True)
class End:
    """How the work of a worker ended: with `code` 0, with an exit code, or with an exception.

    Attributes:
        time: in nanoseconds of a clock that all processes of a machine share.
        code: the exit code.
        kind: `UserError` or `OSError`, if it was one.
        text: what such an error says.
        errno: that of an OSError.
        traceback: of an exception.
    """

    time: int
    code: int = 0
    kind: str = ""
    text: str = ""
    errno: int | None = None
    traceback: str = ""

    @property
    def is_unexpected(self) -> bool:
        """Whether it is an exception that nobody foresaw."""
        return bool(self.traceback) and not self.kind

    @classmethod
    def of(cls, error: BaseException) -> "End":
        """The end that an exception is."""
        now = time.monotonic_ns()
        if isinstance(error, KeyboardInterrupt):
            return cls(now, _INTERRUPTED)
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            return cls(now, error.code or 0)
        if isinstance(error, SystemExit):
            return cls(now, 1, traceback=str(error.code))
        trace = "".join(traceback.format_exception(error)).rstrip()
        if isinstance(error, UserError):
            return cls(now, 1, "UserError", str(error), traceback=trace)
        if isinstance(error, OSError):
            return cls(now, 1, "OSError", error.strerror or "", error.errno, trace)
        return cls(now, 1, traceback=trace)


def work(job: Job) -> None:
    """Call the entry, and tell how it ended.

    Elastic would wait for ever for a worker that ends with 0 and did not return, and log every exception.
    """
    die_with(job.launcher)
    os.environ.pop(LAUNCHER, None)  # what this process may start has another parent
    os.setpgid(0, 0)  # Ctrl-C then comes from the launcher alone; a second one may mean something else
    numbers, tell = heeded(), job.tell[int(os.environ["RANK"])]
    try:
        try:
            for number in numbers:
                signal.signal(number, stop)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
            tell.send(os.getpid())
            job.entry(*job.arguments)
            end = End(time.monotonic_ns())
        except BaseException as error:
            end = End.of(error)
    except SystemExit as stopped:  # a signal came while an error was put into words; stop lets in no other
        end = End.of(stopped.__context__ or stopped)
    # One that failed is about to end. One that is done waits for the others, and must end when they fail.
    for number in numbers:
        signal.signal(number, _ignore if end.code else stop)
    tell.send(end)
    gc.freeze()  # as at the end of a stage
    if end.code:
        sys.exit(end.code)


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """End as preempted, undisturbed by further signals."""
    for other in heeded():
        signal.signal(other, _ignore)
    sys.exit(PREEMPTED)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: Python tells of a signal that came just before that was set."""


def heeded() -> list[signal.Signals]:
    """Those of the signals that nobody (nohup, a shell's `&`) has told this process to ignore."""
    return [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
