"""Requests to stop: noted when they come, and looked at between micro-batches."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# What schedulers, CI and people send before they kill.
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


@contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Whether this process was asked to stop since the block began. A second Ctrl-C stops it at once."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, note) for number in _ASKING}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
