"""Judging a model as a whole: what is written, and that it is the same every time."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from pipeline import digest, project
from pipeline.data.audit import audit
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.verdict import compared
from pipeline.params import Params
from pipeline.tasks.text_classification import TextClassification
from pipeline.training import checkpoint
from pipeline.training.fingerprint import fingerprint
from pipeline.training.train import train
from pipeline.world import World

OUTPUTS = (project.EVALUATION_METRICS, project.CONFUSION_MATRIX, project.REPORTS)


@pytest.fixture
def trained(tokenized: Path, tiny_params: Params) -> World:
    """A project with a trained model, and the world it was trained in."""
    rows = {split: pq.read_table(project.PREPARED / f"{split}.parquet") for split in project.SPLITS}
    task = TextClassification.load(project.PREPARED)
    (project.PREPARED / "audit.json").write_text(json.dumps(audit(rows, rows, task.texts, task.labels)))
    world = World.start(tiny_params.hardware, tiny_params.train.precision)
    with checkpoint.hold(fingerprint(tiny_params, {}), 1) as checkpoints:
        train(tiny_params, world, checkpoints, lambda step, metrics: None)
    return world


def test_writes_what_dvc_and_people_read_and_the_same_again(trained: World, tiny_params: Params) -> None:
    metrics = evaluate(tiny_params, trained).metrics
    first = digest.of_paths(OUTPUTS)
    assert len(first) == 3
    assert metrics == json.loads(project.RESULTS.read_text())
    assert compared(metrics) == json.loads(project.EVALUATION_METRICS.read_text())
    assert list(metrics["test"]) == [*TextClassification.score_names, "loss"]
    assert list(metrics["baselines"]) == list(metrics["versus"]) == ["majority class", "TF-IDF + logistic regression"]
    assert metrics["rows"] == {"test": 50, "validation": 50}
    for scores in (metrics["test"], metrics["validation"], *metrics["baselines"].values()):
        for found in scores.values():
            assert found["low"] is None or found["low"] <= found["value"] <= found["high"]
            assert found["low"] != found["high"] or found["low"] is None

    # The model that training called the best is the one that is judged.
    noted = json.loads(project.TRAIN_METRICS.read_text())["validation"]
    assert {name: found["value"] for name, found in metrics["validation"].items()} == pytest.approx(noted, abs=1e-6)

    with project.CONFUSION_MATRIX.open(newline="") as file:
        confusions = list(csv.DictReader(file))
    right = sum(row["actual"] == row["predicted"] for row in confusions)
    assert (len(confusions), right / len(confusions)) == (50, metrics["test"]["accuracy"]["value"])
    assert {row["actual"] for row in confusions} == {"bad", "good"}

    page = project.REPORT.read_text()
    assert digest.of_folder(project.BEST_MODEL) in page
    assert str(Path.cwd()) not in page
    pictures = {path.stem for path in (project.REPORTS / "figures").glob("*.png")}
    curves = {"loss", "validation_scores"}
    assert pictures == {"scores", "differences", "confusion_matrix", "label_balance", "lengths", "reliability"} | curves

    threads = torch.get_num_threads()
    evaluate(tiny_params, trained)
    assert digest.of_paths(OUTPUTS) == first
    assert torch.get_num_threads() == threads
