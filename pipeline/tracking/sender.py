"""The way from a run to MLflow: requests that never raise, and never wait twice for a server that is away."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import final

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from pipeline import environment
from pipeline.tracking import store
from pipeline.tracking.values import without_secrets

# MLflow takes at most 100 params and 100 tags in a request.
_BATCH = 100

# MLflow asks once and waits little; it reads this from the environment at each request.
_IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}

Request = Callable[[MlflowClient, str], object]


@final
class Sender:
    """Sends what one run has to say, until MLflow does not answer; counts what it could not send."""

    def __init__(self) -> None:
        self.uri = store.tracking_uri()
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._lost: Counter[str] = Counter()
        self.connected = False

    def connect(self, client: MlflowClient, run_id: str) -> None:
        """Send to this run from now on."""
        self._client, self._run_id, self.connected = client, run_id, True

    def disconnect(self, reason: str) -> None:
        """Send no more."""
        self.connected = False
        say(f"MLflow at {without_secrets(self.uri)} does not answer; going on without it, untracked. ({reason})")

    def send(self, request: Request, worth: Mapping[str, int]) -> None:
        """Make a request, once. What MLflow refuses is said; when it does not answer, nothing more is sent.

        Args:
            request: is called with the client and the run's id.
            worth: what is lost if it fails, by kind.
        """
        if not self.connected:
            self._lost.update(worth)
            return
        assert self._client is not None
        try:
            request(self._client, self._run_id)
        except Exception as error:
            if not store.is_foreign(error):
                raise
            self._lost.update(worth)
            if (reason := store.refusal(error)) is not None:
                say(f"MLflow refused {_counted(worth)}: {reason}")
            else:
                self.disconnect(store.deepest_line(error))

    def batch(self, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
        """Send metrics, params and tags together, in as few requests as MLflow takes."""
        for first in range(0, max(len(metrics), len(params), len(tags)), _BATCH):
            part = slice(first, first + _BATCH)
            some = metrics[part], params[part], tags[part]
            worth = dict(zip(("metric points", "params", "tags"), map(len, some), strict=True))
            self.send(partial(_log_batch, *some), worth)

    def close(self, status: str) -> None:
        """Set the run's status, and say what was lost on the way.

        Also when MLflow did not answer before: it may be back, and a run must not look alive for ever.
        """
        lost = _counted(self._lost)
        if self._client is not None:
            try:
                with nullcontext() if self.connected else environment.changed(_IMPATIENCE):
                    if lost:
                        self._client.set_tag(self._run_id, "reprise.lost", lost)
                    self._client.set_terminated(self._run_id, status)
            except Exception as error:
                if not store.is_foreign(error):
                    raise
                say(f"MLflow was not told that run {self._run_id} is {status}. ({store.deepest_line(error)})")
        if lost:
            say(f"Not in MLflow: {lost}.")


def _log_batch(
    metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[RunTag], client: MlflowClient, run_id: str
) -> None:
    client.log_batch(run_id, metrics, params, tags)


def _counted(worth: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in worth.items() if count)


def say(text: str) -> None:
    """Print a line; a progress bar on the terminal puts it above itself."""
    print(text, file=sys.stderr, flush=True)
