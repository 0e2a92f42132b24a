"""What every task promises the stages train and evaluate: no kill changes its model, and it is judged as a whole.

The plain run takes one case of each way through both; the marker `wide` has all cases.
"""

import json
from pathlib import Path

import pytest

from pipeline import dag, digest, project, tasks
from pipeline.evaluation.evaluate import evaluate
from pipeline.params import Params
from pipeline.tasks import find
from pipeline.training import checkpoint
from pipeline.training.fingerprint import fingerprint
from pipeline.training.train import train
from pipeline.world import World
from tests.tasks.cases import CASES, Case, make


def way(case: Case) -> tuple[object, ...]:
    """By what train and evaluate tell tasks apart; for a reference see test_dpo.py."""
    kind = find(case.task)
    return kind.is_packed, kind.generates == "all", kind().couples_examples


OURS = [case for case in CASES if not case.stages]
PLAIN = {way(case): str(case) for case in reversed(OURS)}.values()
TRAINED = (project.BEST_MODEL, project.TRAIN_METRICS, project.TRAIN_CURVE, project.VALIDATION_CURVES)
JUDGED = (project.EVALUATION_METRICS, project.CONFUSION_MATRIX, project.REPORTS)
AFTER = 6  # steps; the last checkpoint before is that of step 5


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


def run(params: Params, kill_after: int | None = None) -> int:
    """Train; die right after the metrics of a step were logged. Returns the first step that was logged."""
    logged: list[int] = []

    def log(step: int, _: dict[str, float]) -> None:
        logged.append(step)
        if kill_after is not None and step >= kill_after:
            raise Killed

    world = World.start(params.hardware, params.train.precision)
    with checkpoint.hold(fingerprint(params, dag.inputs("train")), params.hardware.save_total_limit) as checkpoints:
        train(params, world, checkpoints, log)
        checkpoints.clear()
    return logged[0]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if str(case) in PLAIN else [pytest.mark.wide], id=str(case)) for case in CASES],
)
def test_killed_and_resumed_it_ends_with_the_same_model_whose_report_is_whole(case: Case, folder: Path) -> None:
    make(case, folder)
    params = case.whole_params()
    params = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"n_resamples": 100})})
    assert run(params) < AFTER
    whole = digest.of_paths(TRAINED)
    assert len(whole) == len(TRAINED)
    with pytest.raises(Killed):
        run(params, kill_after=AFTER)
    assert run(params) >= AFTER, "it went on, and did not start over"
    assert digest.of_paths(TRAINED) == whole

    world = World.start(params.hardware, params.train.precision)
    findings = evaluate(params, world)
    judged = digest.of_paths(JUDGED)
    metrics, task = findings.metrics, tasks.load(params, params.evaluate.metrics)
    assert set(metrics["test"]) == {*task.all_score_names, *_own(params), "loss"}
    assert metrics["baselines"]
    assert metrics["versus"].keys() == metrics["baselines"].keys()
    noted = json.loads(project.TRAIN_METRICS.read_text())["validation"]
    assert noted.keys() <= metrics["validation"].keys()
    page = (project.REPORTS / "index.html").read_text()
    assert all(view.title in page for view in findings.views)
    evaluate(params, world)
    assert digest.of_paths(JUDGED) == judged, "the same again"


def _own(params: Params) -> list[str]:
    """The score of the user's own that picks the best model, if one does."""
    return [params.train.own_metric.rpartition(".")[2]] if params.train.own_metric else []
