"""The same rows in two evaluations: found by their keys, in one order and over one list of labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline.errors import counted
from pipeline.evaluation.examples import Examples


@dataclass(frozen=True)
class Mismatch:
    """How two sets of evaluated rows differ; a row is known by its texts and target.

    Attributes:
        only_first: rows that the first has alone, those with a changed text or target included.
        only_second: likewise.
        changed: rows that stand at the same place in both, with another text.
        retargeted: rows that stand at the same place in both, with another target.
        labels_first: labels that the first knows alone.
        labels_second: likewise.
    """

    only_first: int
    only_second: int
    changed: int
    retargeted: int
    labels_first: tuple[str, ...]
    labels_second: tuple[str, ...]

    def __bool__(self) -> bool:
        return any((self.only_first, self.only_second, self.labels_first, self.labels_second))

    def __str__(self) -> str:
        said = [
            f"{counted(count, 'row')} {what}"
            for count, what in (
                (self.only_first, "only in the first"),
                (self.only_second, "only in the second"),
                (self.retargeted, "at the same place with another target"),
                (self.changed, "at the same place with another text"),
            )
            if count
        ]
        for labels, which in ((self.labels_first, "first"), (self.labels_second, "second")):
            if labels:
                said.append(f"labels that only the {which} knows: {', '.join(labels[:5])}")
        return "; ".join(said)


def mismatch(first: Examples, second: Examples) -> Mismatch:
    """How the rows of two evaluations differ; false if they are the same, in whatever order."""
    keys = [set(examples.keys) for examples in (first, second)]
    places = {row: place for place, row in enumerate(second.ids)}
    targets = [_targets(examples) for examples in (first, second)]
    changed = retargeted = 0
    for place, (row, key) in enumerate(zip(first.ids, first.keys, strict=True)):
        other = places.get(row)
        if other is None or key in keys[1] or second.keys[other] in keys[0]:
            continue
        if targets[0][place] != targets[1][other]:
            retargeted += 1
        else:
            changed += 1
    labels = [examples.task.labels for examples in (first, second)]
    return Mismatch(
        len(keys[0] - keys[1]),
        len(keys[1] - keys[0]),
        changed,
        retargeted,
        *(tuple(name for name in mine if name not in other) for mine, other in (labels, labels[::-1])),
    )


def match(many: Sequence[Examples]) -> list[Examples]:
    """The rows that all have, in the order of the first, with labels numbered as in the first.

    Labels that the first does not know come behind its own.
    """
    first = many[0]
    shared = set(first.keys).intersection(*(examples.keys for examples in many[1:]))
    keys = [key for key in first.keys if key in shared]
    labels = tuple(dict.fromkeys(name for examples in many for name in examples.task.labels))
    return [_renumbered(examples.take(_places(examples, keys)), labels) for examples in many]


def _places(examples: Examples, keys: Sequence[str]) -> np.ndarray:
    places = {key: place for place, key in enumerate(examples.keys)}
    return np.array([places[key] for key in keys], np.int64)


def _renumbered(examples: Examples, labels: tuple[str, ...]) -> Examples:
    if examples.task.labels == labels:
        return examples
    task = replace(examples.task, labels=labels)
    columns = pa.table(examples.task.columns(examples.predictions))
    return replace(examples, task=task, predictions=task.from_columns(columns))


def _targets(examples: Examples) -> list[object]:
    """What each row's target is, where predictions say; else rows are told apart by their keys alone."""
    columns = examples.task.columns(examples.predictions)
    return columns["target"].to_pylist() if "target" in columns else [None] * len(examples)
