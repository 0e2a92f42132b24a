"""Which figures a report has: those that suit the scores, the training, the answers and the data."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import project
from pipeline.data.store import Store
from pipeline.evaluation import data_figures, figures, matrix
from pipeline.evaluation.look import Drawing
from pipeline.evaluation.mistakes import confusion_matrix
from pipeline.evaluation.verdict import strongest
from pipeline.scores import ends_at_one
from pipeline.tasks.base import Predictions


def of_scores(metrics: Mapping[str, Any]) -> list[Drawing]:
    """The scores that are shares beside those of the baselines; others have no common axis."""
    if not any(map(ends_at_one, metrics["test"])):
        return []
    drawings = [figures.scores(metrics["test"], metrics["baselines"])]
    if (baseline := strongest(metrics)) is not None:
        drawings.append(figures.differences(metrics["versus"][baseline], baseline))
    return drawings


def of_training(training: Mapping[str, Any], minimised: str) -> list[Drawing]:
    """The curves of the loss and of the scores, from the files that train has left beside its metrics.

    Args:
        training: what metrics/train.json holds.
        minimised: as in `Findings`.
    """
    best_step = training["best_step"]
    curves = {("train", "loss"): _curve(project.TRAIN_CURVE, "loss")}
    for score in training["validation"]:
        curves["validation", score] = _curve(project.VALIDATION_CURVES / f"{score}.csv", score)
    drawings = [figures.loss_curve(curves, best_step, minimised)]
    if any(ends_at_one(name) for split, name in curves if split == "validation"):
        drawings.append(figures.score_curves(curves, best_step))
    return drawings


def of_answers(predictions: Predictions, labels: Sequence[str]) -> list[Drawing]:
    """What was said for what, if the answer to a row is one label, and these are few enough."""
    if not labels or len(labels) > matrix.MOST_LABELS:
        return []
    return [matrix.confusion_matrix(confusion_matrix(predictions, labels), labels)]


def of_data(
    rows: Mapping[str, pa.Table], stores: Mapping[str, Store], labels: Sequence[str], most_tokens: int
) -> list[Drawing]:
    """How long the examples are, and how many rows each label has, if rows have one.

    Args:
        rows: by split; likewise `stores`.
        most_tokens: of an example.
    """
    tokens = np.concatenate([store.full_lengths for store in stores.values()])
    lengths = data_figures.lengths(tokens, most_tokens)
    if not labels:
        return [lengths]
    counts = {split: np.bincount(table["label"].to_numpy(), minlength=len(labels)) for split, table in rows.items()}
    return [data_figures.label_balance(counts, labels), lengths]


def _curve(path: Path, score: str) -> tuple[list[int], list[float]]:
    """Steps and values of a score."""
    with path.open(encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    return [int(point["step"]) for point in points], [float(point[score]) for point in points]
