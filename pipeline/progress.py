"""Progress for people: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Bar:
    """One long piece of work, advanced from its loop."""

    title: str
    total: int
    _console: Console
    _progress: Progress | None
    _task: TaskID | None
    _done: int = 0
    _before: int = 0
    _started: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Say that `count` more are done; the note (loss, rate) stands behind the count."""
        self._done += count
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done, note=note)
        elif time.monotonic() - self._printed >= _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            self.say(f"{self.title}: {self._done:,} of {self.total:,}  {note}  {self._left()}".rstrip())

    def say(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        if not self._before < self._done < self.total:
            return ""
        seconds = (self._printed - self._started) / (self._done - self._before) * (self.total - self._done)
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"


_muted = False


def mute() -> None:
    """Show nothing from now on: of several processes that do the same work, one tells of it."""
    global _muted
    _muted = True


# The bars that are drawn now: two drawings at once would fight for the terminal's last lines.
_drawn: list[Progress] = []


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar over `total` pieces, of which `done` were done before (a resumed run); inside another one, below it."""
    console = Console(stderr=True, quiet=_muted)
    if _muted or not console.is_terminal:
        yield Bar(title, total, console, None, None, done, done)
        return
    if _drawn:
        task = _drawn[0].add_task(title, total=total, completed=done, note="")
        yield Bar(title, total, _drawn[0].console, _drawn[0], task, done, done)
        _drawn[0].remove_task(task)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        _drawn.append(progress)
        try:
            task = progress.add_task(title, total=total, completed=done, note="")
            yield Bar(title, total, console, progress, task, done, done)
        finally:
            _drawn.clear()
