"""A folder for one process alone: a lock in it that the kernel frees, however its holder ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pipeline.errors import UserError

_NAME = "lock"
_TRIES, _SECONDS_BETWEEN = 4, 0.05


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there, and removed if nothing is left in it.

    Raises:
        UserError: another process holds it.
    """
    with _lock(folder / _NAME) as lock:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        try:
            yield
        finally:
            _leave(folder)


def is_free(folder: Path) -> bool:
    """Whether no process holds the folder."""
    with suppress(FileNotFoundError), (folder / _NAME).open(encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _lock(path: Path) -> TextIO:
    """The file at `path`, opened and locked.

    Whoever leaves may remove it. A file that was opened before that and locked after it is no longer the one that
    lies there, and locks nothing: then again. That is what makes the removal safe.
    """
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Checkpoints cannot be kept in {path.parent.parent}: {error.strerror}. Set hardware.checkpoint_dir to a "
            "folder that can be written to."
        ) from error
    while True:
        with suppress(FileExistsError):
            path.parent.mkdir()
        with suppress(FileNotFoundError), ExitStack() as stack:
            lock = stack.enter_context(path.open("a+", encoding="utf-8"))
            if not _try(lock):
                lock.seek(0)
                raise UserError(
                    f"The same experiment is being trained already, by {lock.read()}.\n"
                    "Wait for it, or stop it: what it saved is taken up from there."
                )
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                stack.pop_all()
                return lock


def _try(lock: TextIO) -> bool:
    """Whether the lock was got; not the first time that it is not, since somebody may just look (`is_free`)."""
    for _ in range(_TRIES):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_SECONDS_BETWEEN)
    return False


def _leave(folder: Path) -> None:
    """Remove the lock, which this process holds, and the folder, if nothing else is left in it."""
    # Not there any more, or taken up by another process since: its next holder removes it.
    with suppress(OSError):
        if [path.name for path in folder.iterdir()] == [_NAME]:
            (folder / _NAME).unlink()
            folder.rmdir()
