"""Entities in tagged words, and how many of them were found: counted as CoNLL's script does, by seqeval.

An entity is right if its type and both of its ends are. Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003
Shared Task" (CoNLL 2003), https://aclanthology.org/W03-0419.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Tags = Sequence[str]


class Entity(NamedTuple):
    """An entity of a row.

    Attributes:
        first: its first word.
        last: its last word.
    """

    type: str
    first: int
    last: int


class OfType(NamedTuple):
    """How well the entities of a type are found; `support` is how many there are."""

    type: str
    precision: float
    recall: float
    f1: float
    support: int


def entities(tags: Tags) -> list[Entity]:
    """The entities of a row, in its order."""
    # Seconds of imports, which the stages that have no use for them shall not wait for. Likewise below.
    from seqeval.metrics.sequence_labeling import get_entities

    return [Entity(*found) for found in get_entities(list(tags))]


def counts(actual: Sequence[Tags], predicted: Sequence[Tags]) -> np.ndarray:
    """By row: the entities that are right, those that were predicted, and those that there are, (rows, 3)."""
    found = np.zeros((len(actual), 3), np.int64)
    for row, (tags, guessed) in enumerate(zip(actual, predicted, strict=True)):
        there, said = set(entities(tags)), set(entities(guessed))
        found[row] = len(there & said), len(said), len(there)
    return found


def precision_recall_f1(right: int, predicted: int, actual: int) -> tuple[float, float, float]:
    """The three scores of these many entities, each 0 where it is not defined, as seqeval has them."""
    return (
        right / predicted if predicted else 0.0,
        right / actual if actual else 0.0,
        2 * right / (predicted + actual) if predicted + actual else 0.0,
    )


def by_type(actual: Sequence[Tags], predicted: Sequence[Tags]) -> list[OfType]:
    """The scores of every type, the most frequent first."""
    from seqeval.metrics import classification_report

    report = classification_report(
        [list(tags) for tags in actual], [list(tags) for tags in predicted], output_dict=True, zero_division=0
    )
    found = [
        OfType(kind, float(of["precision"]), float(of["recall"]), float(of["f1-score"]), int(of["support"]))
        for kind, of in report.items()
        if not kind.endswith(" avg")
    ]
    return sorted(found, key=lambda scores: (-scores.support, scores.type))
