"""Runs as the stages make them, and what MLflow has of them."""

from contextlib import suppress

from mlflow import MlflowClient
from mlflow.entities import Run as Stored

from pipeline.params import Params
from pipeline.tracking import store, sync
from pipeline.tracking.forward import Forwarder
from pipeline.tracking.journal import Journal
from pipeline.tracking.run import Run
from pipeline.tracking.tag_names import EVALUATED, JOURNAL

PARAMS = Params()
DIGEST = "0123456789abcdef" * 4


class InProcess:
    """Stands in for `Sending`: forwards at once, in this process, since one of its own takes seconds to start."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._forwarder: Forwarder | None = None

    def start(self) -> None:
        try:
            self._forwarder = Forwarder(self._journal, sync.connected(self._journal))
            sync.answered(self._forwarder.forward)
        except store.Unreachable:
            self._forwarder = None

    def finish(self) -> int:
        if self._forwarder is None:
            self.start()
        else:
            self.forward()
        return self._journal.all_left()

    def forward(self) -> None:
        assert self._forwarder is not None
        with suppress(store.Unreachable):
            sync.answered(self._forwarder.forward)

    def stop(self) -> None:
        pass


def begun(params: Params = PARAMS, **settings: str) -> Run:
    return Run.start(params, inputs={"data/tokenized": DIGEST}, device="cpu", **settings)


def points(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    history = client.get_metric_history(stored(client, run).info.run_id, name)
    return sorted((point.step, point.value) for point in history)


def stored(client: MlflowClient, run: Run) -> Stored:
    """The MLflow run that this one was written to."""
    everywhere = [experiment.experiment_id for experiment in client.search_experiments()]
    for tag in (JOURNAL, EVALUATED):
        if found := client.search_runs(everywhere, f"tags.`{tag}` = '{run.id}'"):
            assert len(found) == 1
            return found[0]
    raise AssertionError(f"no run of the journal {run.id}")


def evaluated(score: float, params: Params = PARAMS) -> Run:
    with Run.of_model(params, DIGEST, inputs={"models/best": DIGEST}, device="cpu") as run:
        run.finals({"test/accuracy": score})
    return run
