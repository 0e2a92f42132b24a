"""`reprise seeds` and `reprise compare` on real experiments: DVC and MLflow tell the same numbers of them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipeline import digest
from pipeline.params import Tracking
from tests.stages import test_pipeline
from tests.stages.test_pipeline import copy, run, trained

__all__ = ["copy", "trained"]
pytestmark = pytest.mark.slow

WORKSPACE = ("params.yaml", "dvc.lock", "models/best", "metrics", "reports", "data/prepared")


def reprise(folder: Path, *command: str) -> str:
    return run(folder, sys.executable, "-m", "pipeline.cli", *command).stdout


def shown(folder: Path) -> dict[str, dict[str, float]]:
    """What `dvc exp show` says: metrics/evaluation.json by the name of the experiment."""
    found: dict[str, dict[str, float]] = {}

    def look(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                look(item)
        elif isinstance(value, dict):
            if value.get("name") and isinstance(value.get("data"), dict):
                found[value["name"]] = value["data"]["metrics"].get("metrics/evaluation.json", {}).get("data", {})
            for item in value.values():
                look(item)

    look(json.loads(run(folder, "dvc", "exp", "show", "--json").stdout))
    return found


def test_seeds_leave_the_workspace_and_dvc_and_mlflow_tell_the_same(
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = test_pipeline.environment()
    # The copy's own code, not that of an installed project.
    monkeypatch.setattr(test_pipeline, "environment", lambda: kept | {"PYTHONPATH": str(copy)})
    run(copy, "dvc", "add", "data/raw/reviews.csv")  # temporary copies hold what git or DVC knows
    run(copy, "git", "add", "-A")
    run(copy, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "data")
    before = digest.of_paths(copy / name for name in WORKSPACE)
    said = reprise(copy, "seeds", "2", "--first", "42")
    assert digest.of_paths(copy / name for name in WORKSPACE) == before
    group = re.search(r"reprise compare REFERENCE (seeds-[0-9a-f]{8}-42-43)", said)
    assert group is not None
    client = mlflow.MlflowClient(f"sqlite:///{copy}/mlflow.db")
    experiment = client.get_experiment_by_name(Tracking().experiment_name).experiment_id
    (parent,) = client.search_runs([experiment], f"attributes.run_name = '{group[1]}'")
    children = client.search_runs([experiment], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    scores = {int(child.data.params["train.seed"]): child.data.metrics["test/accuracy"] for child in children}
    assert set(scores) == {42, 43}
    mean = sum(scores.values()) / 2
    assert parent.data.metrics["test/accuracy"] == pytest.approx(mean)
    assert parent.data.metrics["test/accuracy_std"] == pytest.approx(abs(scores[42] - scores[43]) / 2**0.5)
    assert parent.data.params["train.global_batch_size"] == "16"
    assert "train.seed" not in parent.data.params

    names = sorted(name for name in shown(copy) if re.fullmatch(r"seeds-[0-9a-f]{8}-\d+", name))
    assert [name[-2:] for name in names] == ["42", "43"]
    for name in names:
        metrics = next(child.data.metrics for child in children if child.data.params["train.seed"] == name[-2:])
        for score in ("accuracy", "f1_macro", "mcc", "loss"):
            assert shown(copy)[name][score] == pytest.approx(metrics[f"test/{score}"], abs=1e-9), (name, score)

    # What DVC says of the two, and what compare says of their runs.
    difference = json.loads(run(copy, "dvc", "metrics", "diff", "--all", "--json", *names).stdout)
    changes = difference["metrics/evaluation.json"]["accuracy"]
    compared = json.loads(reprise(copy, "compare", *names, "--split", "test", "--json"))
    found = compared["comparisons"][0]["differences"]["accuracy"]["difference"]
    assert found == pytest.approx(changes["new"] - changes["old"], abs=1e-6)
    assert compared["differing"]["params"] == {"train.seed": ["42", "43"]}

    # The curves that `dvc plots diff` draws are those that MLflow has.
    drawn = "plots/validation/accuracy.csv"
    plots = json.loads(run(copy, "dvc", "plots", "diff", "--json", *names, "--targets", drawn).stdout)
    assert names[0] in json.dumps(plots)
    child = next(child for child in children if child.data.params["train.seed"] == "43")
    history = client.get_metric_history(child.info.run_id, "validation/accuracy")
    curve = run(copy, "dvc", "get", ".", drawn, "--rev", names[1], "-o", "curve.csv", "-f")
    assert curve.returncode == 0
    lines = (copy / "curve.csv").read_text().splitlines()
    assert lines[0] == "step,accuracy"
    for step, value in ((int(step), float(value)) for step, value in (line.split(",") for line in lines[1:])):
        assert any(point.step == step and point.value == pytest.approx(value, abs=1e-6) for point in history)
