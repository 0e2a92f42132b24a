"""How fast training goes, for people and for the learning curve; never for anything that is hashed."""

import time

from pipeline.errors import counted
from pipeline.progress import Bar
from pipeline.training.loop import Step

_STEPS_BEFORE_ESTIMATE = 20


class Pace:
    """Tokens a second between two readings, and how long all of it will take."""

    def __init__(self, progress: Bar, done: int, total: int) -> None:
        self._progress, self._done, self._total = progress, done, total
        self._started = self._read = time.monotonic()
        self._tokens = 0
        self._note = ""

    def advance(self, step: Step) -> None:
        """Count a step; say after some of them how long the rest will take."""
        self._tokens += step.tokens
        self._progress.advance(note=self._note)
        if step.number - self._done == _STEPS_BEFORE_ESTIMATE:
            seconds = (time.monotonic() - self._started) / _STEPS_BEFORE_ESTIMATE * (self._total - self._done)
            left = f"{seconds / 60:.1f} minutes" if seconds >= 60 else counted(round(seconds), "second")
            self._progress.say(f"train: {self._total - self._done:,} steps, about {left}")

    def read(self, loss: float, learning_rate: float) -> float:
        """Tokens a second since the last reading; the bar shows them beside the loss."""
        now = time.monotonic()
        rate = self._tokens / max(now - self._read, 1e-9)
        self._read, self._tokens = now, 0
        self._note = f"loss {loss:.3f}  lr {learning_rate:.1e}  {rate:,.0f} tokens/s"
        return rate
