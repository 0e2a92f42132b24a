"""How much memory a piece of code takes, for the tests."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


def private() -> int:
    """Bytes of this process's own pages (RssAnon): mapped files, which the system drops at need, do not count."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@contextlib.contextmanager
def added(every: float = 0.001) -> Iterator[list[int]]:
    """The most bytes that the block adds to this process's own pages, looked at once a millisecond and at its end.

    Yields:
        A list, whose one number is there when the block has ended.
    """
    before, highest, done = private(), [0], threading.Event()

    def look() -> None:
        while not done.wait(every):
            highest[0] = max(highest[0], private() - before)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield highest
    finally:
        highest[0] = max(highest[0], private() - before)
        done.set()
        watch.join()
