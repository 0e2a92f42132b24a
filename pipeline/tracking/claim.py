"""One promoter at a time, where the registry offers no lock and no compare-and-swap, only tags.

Every process writes a claim, a tag of its own on the registered model, and then looks at the others': of two that run
at once, the one that wrote later sees the earlier one's. The order of the claims' random names decides who waits (the
one-bit algorithm: Lamport, "The Mutual Exclusion Problem, Part II", Journal of the ACM 33, 1986, pages 327-348).
It asks of the store only that a tag that was written is read by everybody from then on, as from one database.

A process that died leaves its claim. One that waits writes its claim again and again, so a claim that stays the same
for `PATIENCE` seconds belongs to a dead process, and is removed; whoever holds a claim gives up after `HOLD` seconds,
which each measures by its own clock. What this cannot prevent: a holder that is stopped between its last look at the
clock and the request behind it, for longer than the rest of `PATIENCE`; and people who move an alias by hand.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError

PREFIX = "reprise.claim."
PATIENCE = 90.0
HOLD = 20.0
_POLL = 0.2


@dataclass
class Claim:
    """A claim on a registered model."""

    _client: MlflowClient
    _model: str
    _patience: float
    _key: str = field(default_factory=lambda: f"{PREFIX}{uuid.uuid4().hex}")
    _beats: int = 0
    _written: float = 0.0
    # What the others' claims said, and since when they say so.
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def check(self) -> None:
        """Make sure that the claim still holds; to be called before every write that it guards.

        Raises:
            UserError: it took so long that others may think this process dead.
        """
        if time.monotonic() - self._written > HOLD:
            raise UserError(
                f"MLflow answered too slowly: after {HOLD:g} s another process may promote, so this one stopped. "
                "See reprise history, and try again."
            )

    def take(self) -> None:
        """Wait until no other process is before this one."""
        self._write()
        while True:
            mine, others = self._look()
            if mine and not others:
                return
            if any(key < self._key for key in others):
                self.drop()
                while any(key < self._key for key in self._look()[1]):
                    time.sleep(_POLL)
            else:
                time.sleep(_POLL)
            self._write()

    def drop(self) -> None:
        """Take the claim back."""
        self._client.delete_registered_model_tag(self._model, self._key)

    def _write(self) -> None:
        self._beats += 1
        self._written = time.monotonic()
        self._client.set_registered_model_tag(self._model, self._key, str(self._beats))

    def _look(self) -> tuple[bool, list[str]]:
        """Whether this process's claim is there (another may have taken it for dead), and those of others that live."""
        tags = self._client.get_registered_model(self._model).tags
        claims = {key: value for key, value in tags.items() if key.startswith(PREFIX)}
        mine = claims.pop(self._key, None) is not None
        now = time.monotonic()
        self._seen = {
            key: self._seen[key] if self._seen.get(key, ("", 0))[0] == value else (value, now)
            for key, value in claims.items()
        }
        dead = [key for key, (_, since) in self._seen.items() if now - since > self._patience]
        for key in dead:
            self._client.delete_registered_model_tag(self._model, key)
        return mine, [key for key in claims if key not in dead]


@contextmanager
def claimed(client: MlflowClient, model: str, patience: float = PATIENCE) -> Iterator[Claim]:
    """Hold the only claim on a registered model within the block; other processes that want one wait."""
    claim = Claim(client, model, patience)
    try:
        claim.take()
        yield claim
    finally:
        with suppress(MlflowException):  # it dies by itself, and what went wrong before is what counts
            claim.drop()
