"""What the report shows of answers that are classes."""

from collections.abc import Sequence

import numpy as np

from pipeline.metrics.classes import Counts, reliability
from pipeline.views import Column, Diagonal, Table

_MOST_CLASSES = 100


def per_class(labels: Sequence[str], counts: Counts) -> Table:
    """Precision, recall and F1 of every class, the worst first; of very many, the worst."""
    seen = counts.actual + counts.predicted > 0
    order = [place for place in np.argsort(np.nan_to_num(counts.f1), kind="stable").tolist() if seen[place]]
    columns = (counts.precision, counts.recall, counts.f1)
    cut = f" These are the worst {_MOST_CLASSES} of {len(order):,}." if len(order) > _MOST_CLASSES else ""
    return Table(
        "per_class",
        "Labels",
        "Precision is the share of the rows called so that have the label, recall the share of those with the label "
        f"that were found, F1 their harmonic mean; a dash where there are no such rows.{cut}",
        (Column("Label"), Column("Precision"), Column("Recall"), Column("F1"), Column("Rows"), Column("Predicted")),
        [
            (
                labels[place],
                *(_cell(float(values[place])) for values in columns),
                int(counts.actual[place]),
                int(counts.predicted[place]),
            )
            for place in order[:_MOST_CLASSES]
        ],
    )


def calibration(score: np.ndarray, right: np.ndarray) -> Diagonal:
    """The reliability diagram of Guo et al. (2017): the share of right answers by the probability that they were given.

    Args:
        score: (rows,) the probability that the model gave its answer.
        right: (rows,) bool.
    """
    return Diagonal(
        "reliability",
        "Reliability",
        "Answers of like probability are one dot, the larger the more rows it stands for. On the diagonal the model is "
        "right as often as it believes; below it is too sure. The calibration error is the mean distance of a row's "
        "dot from the diagonal.",
        "probability of the answer",
        "share that is right",
        [(found.score, found.right, found.rows) for found in reliability(score, right)],
    )


def wrong_sets(
    ids: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    actual: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    scores: Sequence[float],
) -> Table:
    """Rows whose set of labels is wrong, the surest first.

    Args:
        scores: the probability that the model gave its set.
    """
    rows = zip(ids, texts, actual, predicted, scores, strict=True)
    return Table(
        "mistakes",
        "Most confident mistakes",
        "Wrong sets of labels of which the model was most sure. Look here for labels that were forgotten, and for rows "
        "on which people would not agree. The probability is that of the whole set.",
        (Column("Row"), Column("Text", is_text=True), *map(Column, ("Actual", "Predicted", "Probability"))),
        [(id_, " | ".join(parts), _listed(one), _listed(other), score) for id_, parts, one, other, score in rows],
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "(none)"


def _cell(value: float) -> str | float:
    return "–" if np.isnan(value) else value
