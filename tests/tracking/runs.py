"""Runs as the stages make them, and what MLflow has of them."""

from mlflow import MlflowClient
from mlflow.entities import Run as Stored

from pipeline.params import Params
from pipeline.tracking.run import Run

PARAMS = Params()
DIGEST = "0123456789abcdef" * 4


def begun(params: Params = PARAMS, **settings: str) -> Run:
    return Run.start(params, inputs={"data/tokenized": DIGEST}, device="cpu", **settings)


def points(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    assert run.id is not None
    return sorted((point.step, point.value) for point in client.get_metric_history(run.id, name))


def stored(client: MlflowClient, run: Run) -> Stored:
    assert run.id is not None
    return client.get_run(run.id)


def evaluated(score: float) -> Run:
    with Run.of_model(PARAMS, DIGEST, inputs={"models/best": DIGEST}, device="cpu") as run:
        run.finals({"test/accuracy": score})
    return run
