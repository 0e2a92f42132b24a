"""The process that sends a run's journal while the run goes on: `python -m pipeline.tracking.sender PARENT`.

It is a process of its own, so that MLflow neither takes time from the training nor holds its interpreter. It may be
killed at any time: what it has sent is noted, and sending the last batch again changes nothing. The first line of its
input names the journal; the next one, or the end of its input, tells it that the run has ended. Then it sends what is
left, and gives up at the first request that fails.
"""

import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, final

from pipeline import environment
from pipeline.errors import UserError
from pipeline.tracking import journal as journals
from pipeline.tracking import store
from pipeline.tracking.journal import Journal
from pipeline.tracking.sent import Phase

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAUSE = 0.5  # seconds between looks at the journal
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 15.0
_LONGEST_REQUEST = 24  # seconds; less than what the end of a run waits for
_SECONDS_BETWEEN_SYNCS = 1.0


class _Later(Exception):
    """The run has ended, so what others left has to wait."""


@final
class _Sender:
    def __init__(self, journal: Journal, stop_measuring: Callable[[], None]) -> None:
        self._journal, self._stop_measuring = journal, stop_measuring
        self._closing = self._others_done = False
        self._synced = 0.0

    def run(self) -> None:
        """Send until the run has ended, and all is sent or MLflow is away."""
        from pipeline.tracking import sync
        from pipeline.tracking.forward import Forwarder
        from pipeline.tracking.sending import say

        forwarder, failed, wait = None, 0, _FIRST_WAIT
        while True:
            closing = self._closing  # asked before the journal is read: what it said last is then in it
            if closing:
                self._stop_measuring()
            phase = Phase("open")
            try:
                if forwarder is None:
                    client = sync.connected(self._journal)
                    forwarder = Forwarder(self._journal, client, self._report)
                sync.answered(forwarder.forward)
            except store.Unreachable as error:
                phase = Phase("away", str(error))
                _wait_longer()
            except UserError as error:
                phase = Phase("refused", str(error))
            if phase.name == "open" and failed:
                say("MLflow answers again.")
            failed, wait = (0, _FIRST_WAIT) if phase.name == "open" else (failed + 1, min(2 * wait, _LONGEST_WAIT))
            if failed == 1 and phase.name == "away" and not closing:
                say(
                    f"MLflow at {store.shown()} does not answer; the run goes on, and is sent when it does. "
                    f"({phase.text})"
                )
            elif failed == 2 and phase.name == "refused":  # at the first time the run itself has said so, and ended
                say(phase.text)
            if phase != self._journal.phase():
                self._journal.tell(phase)
            if closing:
                return
            if not failed and not self._others_done:
                self._send_others(client)
            self._rest(wait if failed else _PAUSE)

    def _send_others(self, client: "MlflowClient") -> None:
        """Send what earlier runs left, while this one goes on."""
        from pipeline.tracking import sync

        self._others_done = True
        with suppress(_Later, store.Unreachable):
            for other in sync.sendable():
                with suppress(UserError):  # `reprise sync` tells what is wrong with it
                    sync.send(other, client, self._stop)

    def _stop(self, sent: int, seconds: float) -> None:
        self._report(sent, seconds)
        if self._closing:
            raise _Later

    def _report(self, sent: int, seconds: float) -> None:
        if seconds:
            self._journal.tell(Phase("open", patience=seconds))
        self._rest(0)

    def _rest(self, seconds: float) -> None:
        """Wait, but no longer than until the run ends; and have the disk itself hold what the run has said."""
        if time.monotonic() - self._synced >= _SECONDS_BETWEEN_SYNCS:
            self._journal.sync()
            self._synced = time.monotonic()
        if not self._closing and select.select([sys.stdin], [], [], seconds)[0]:
            self._closing = True


def _wait_longer() -> None:
    """Give the next requests more time: a server that did not answer may be slow, and would never be heard."""
    os.environ[store.TIMEOUT] = str(min(2 * int(os.environ[store.TIMEOUT]), _LONGEST_REQUEST))


def main(parent: int) -> None:
    """Send the journal of a run in the process `parent`, which this one does not outlive."""
    environment.prepare()
    environment.die_with(parent)
    os.environ.update(store.IMPATIENCE)  # a request that fails is made again from here
    # These import MLflow, which takes seconds: it may be done before the run begins.
    from pipeline.tracking import forward, sync, system  # noqa: F401

    store.import_ahead()
    if not (journal_id := _first_line()):
        return
    journal = journals.of(journal_id)
    journal.tell(Phase("asking"))
    with journal.sending() as there:
        if there:
            _Sender(journal, system.Watch(journal).stop).run()


def _first_line() -> str:
    """The first line of the input, and no byte of the next one, which is waited for; empty if the input ends."""
    line = b""
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        line += byte
    return line.decode()


if __name__ == "__main__":
    main(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # the run waits for this process, and Python would look through all of MLflow first
