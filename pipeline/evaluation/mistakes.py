"""Where the model is wrong: which labels it takes for which, and the rows on which it is wrong and sure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.tasks.base import Predictions, Task


@dataclass(frozen=True)
class Confusion:
    """One label taken for another.

    Attributes:
        rows: how often.
        share: of all rows that have the actual label.
    """

    actual: str
    predicted: str
    rows: int
    share: float


@dataclass(frozen=True)
class Mistake:
    """A row that the model gets wrong.

    Attributes:
        score: the probability that the model gave its wrong answer.
    """

    id: str
    texts: tuple[str, ...]
    actual: str
    predicted: str
    score: float


def confusion_matrix(predictions: Predictions, labels: Sequence[str]) -> np.ndarray:
    """Examples by actual and predicted label, (labels, labels)."""
    size = len(labels)
    cells = predictions["target"].astype(np.int64) * size + predictions["prediction"]
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def confused_pairs(predictions: Predictions, labels: Sequence[str], most: int) -> list[Confusion]:
    """The pairs that are confused most often; of equals those that are the larger share of their label."""
    target, prediction = (predictions[name].astype(np.int64) for name in ("target", "prediction"))
    totals = np.bincount(target, minlength=len(labels))
    wrong = target != prediction
    # Only pairs that occur are counted: a whole matrix of very many labels would not fit into memory.
    cells, counts = np.unique(target[wrong] * len(labels) + prediction[wrong], return_counts=True)
    actual, predicted = np.divmod(cells, len(labels))
    shares = counts / totals[actual]
    order = np.lexsort((cells, -shares, -counts))[:most]
    return [
        Confusion(labels[actual[place]], labels[predicted[place]], int(counts[place]), float(shares[place]))
        for place in order
    ]


def confident_mistakes(task: Task, rows: pa.Table, predictions: Predictions, most: int) -> list[Mistake]:
    """The wrong answers of which the model is most sure, the surest first.

    Args:
        rows: the prepared rows, in the order of the predictions.
    """
    labels = task.labels
    wrong = np.flatnonzero(predictions["target"] != predictions["prediction"])
    order = wrong[np.argsort(-predictions["score"][wrong], kind="stable")][:most]
    chosen = rows.take(order)
    return [
        Mistake(
            row_id,
            texts,
            labels[predictions["target"][place]],
            labels[predictions["prediction"][place]],
            float(predictions["score"][place]),
        )
        for place, row_id, texts in zip(order, chosen["id"].to_pylist(), task.texts(chosen), strict=True)
    ]
