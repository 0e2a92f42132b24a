"""Sending what runs left: journals whose processes are gone, or which MLflow did not answer."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient

from pipeline import environment
from pipeline.errors import UserError
from pipeline.tracking import journal as journals
from pipeline.tracking import store
from pipeline.tracking.forward import Forwarder, Report
from pipeline.tracking.journal import ENTRIES, Journal
from pipeline.tracking.sending import say


@dataclass
class Left:
    """What there is to send, and what is not for us.

    Attributes:
        journals: to be sent now.
        running: how many runs send for themselves.
        elsewhere: the addresses that other journals were written for.
    """

    journals: list[Journal]
    running: int
    elsewhere: set[str]


def left() -> Left:
    """Close the runs whose processes are gone, and list what is left to send."""
    journals.close_orphans()
    pending = journals.pending()
    alive = {journal.id for journal in pending if journal.written()}
    rest = [journal for journal in pending if journal.id not in alive]
    ours = [journal for journal in rest if _uri(journal) == store.origin()]
    return Left(ours, len(alive), {_uri(journal) for journal in rest} - {store.origin()})


def sendable() -> list[Journal]:
    """The journals that nobody writes, in the order of their runs."""
    return left().journals


def catch_up() -> None:
    """Close the runs whose processes are gone, and send what is left, before runs are read; a failure costs a line."""
    try:
        send_all(left().journals, lambda sent: None)
    except UserError as error:
        say(str(error))


def send_all(left: Sequence[Journal], advance: Callable[[int], None]) -> None:
    """Send journals, in the order of their runs. One that MLflow does not take holds up no other.

    Args:
        advance: told how many entries more MLflow has.

    Raises:
        UserError: MLflow does not answer, or refuses a run; what is left can be sent later.
    """
    failures: list[str] = []
    with environment.changed(store.PATIENCE):
        for journal in left:
            try:
                send(journal, connected(journal), lambda sent, seconds: advance(sent))
            except store.Unreachable as error:
                failures.append(f"MLflow at {store.shown()} does not answer as it should. ({error})")
                if journal.left(ENTRIES):
                    break  # MLflow itself is away, not only the store of the artifacts
            except UserError as error:
                failures.append(str(error))
    if failures:
        entries = sum(journal.all_left() for journal in left)
        raise UserError(
            f"{failures[0]}\n{entries:,} entries are left; nothing is lost. Send them when this is mended: reprise sync"
        )


def send(journal: Journal, client: MlflowClient, report: Report = lambda sent, seconds: None) -> None:
    """Send what is left of a journal that nobody writes, and remove it when MLflow has all of it.

    Raises:
        Unreachable: MLflow does not answer as it should.
        UserError: it never will as things are.
    """
    with journal.sending() as there:
        if not there:
            return  # another process was faster
        answered(lambda: Forwarder(journal, client, report).forward())
        if journal.closed():
            with suppress(BlockingIOError), journal.writing():
                # Asked while nobody else writes: the run may have been gone on with meanwhile.
                if journal.closed() and not journal.all_left():
                    journal.remove()


def connected(journal: Journal) -> MlflowClient:
    """A client for this journal, after MLflow was asked for its version, and has the runs that it builds on.

    Raises:
        Unreachable: MLflow does not answer.
        UserError: it does not fit.
    """

    def ask() -> MlflowClient:
        client = store.connect()
        store.check_version(client)
        return client

    client: MlflowClient = answered(ask)
    first = journal.first()
    for earlier in map(journals.of, first["after"] if first else ()):
        if earlier.folder.exists() and not earlier.written():
            try:
                with suppress(UserError):  # `reprise sync` tells what is wrong with it
                    send(earlier, client)
            except store.Unreachable:
                if earlier.left(ENTRIES):
                    raise  # else only artifacts are left, which nothing builds on
    return client


def answered(request: Callable[[], Any]) -> Any:
    """What the request gives, made once.

    Raises:
        Unreachable: MLflow does not answer.
        UserError: it refuses, and waiting does not help.
    """
    try:
        return request()
    except store.Unreachable:
        raise
    except Exception as error:
        if not store.is_foreign(error):
            raise
        raise store.Unreachable(store.no_answer(error)) from error


def _uri(journal: Journal) -> str:
    first = journal.first()
    return str(first["uri"]) if first else ""
