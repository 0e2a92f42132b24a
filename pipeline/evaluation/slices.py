"""Groups of rows that are scored on their own: by label, by length, or by any raw column.

An average hides where a model is bad: Buolamwini and Gebru, "Gender Shades: Intersectional Accuracy Disparities in
Commercial Gender Classification", Proceedings of Machine Learning Research 81 (2018), pages 77-91.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.rows import is_number
from pipeline.data.slices import LABEL, LENGTH
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.statistics import intervals, resample
from pipeline.params import Evaluate
from pipeline.scores import gain

MOST_VALUES = 20
"""A column with more has its most frequent ones, and the rest as one more."""
OTHER, NONE = "(other)", "(none)"

# Numbers with up to so many values are taken as they are, such as stars from 1 to 5.
_MOST_NUMBERS = 8
_PARTS = 4
_SEED = 0


def group(
    names: Sequence[str], labels: Sequence[str] | None, lengths: np.ndarray, raw: pa.Table
) -> dict[str, np.ndarray]:
    """The group of every row of a split, in every slice.

    Args:
        names: the slices: `label`, `length`, or columns of `raw`.
        labels: the target of every row; None where it is not one label, and there is no such slice.
        lengths: (rows,) tokens of every row, before any is cut off.
        raw: the raw columns, in the order of the rows.
    """
    found = {}
    for name in names:
        if name == LABEL:
            if labels is not None:
                found[name] = _frequent(labels)
        elif name == LENGTH:
            found[name] = _quarters(lengths.astype(np.float64))
        else:
            found[name] = _of_column(raw[name])
    return found


def scored(examples: Examples, settings: Evaluate) -> dict[str, dict[str, Any]]:
    """The task's first score of every group of every slice, with its interval; the worst group of a slice first.

    Returns:
        By slice and group: `rows`, and the score by its name, with `value`, `low` and `high`.
    """
    score = examples.task.score_names[0]
    found: dict[str, dict[str, Any]] = {}
    for name, groups in examples.slices.items():
        listed = []
        for value in sorted(set(groups)):
            chosen = examples.take(np.flatnonzero(groups == value))
            drawn = resample(chosen.task, chosen.predictions, settings.n_resamples, _SEED)
            interval = intervals(drawn, settings.confidence_level)[score]
            listed.append((gain(score, drawn.values[score]), -len(chosen), value, interval))
        listed.sort(key=lambda item: item[:3])
        found[name] = {value: {"rows": -fewer, score: interval} for _, fewer, value, interval in listed}
    return found


def _of_column(column: pa.ChunkedArray) -> np.ndarray:
    values = [_text(value) for value in column.to_pylist()]
    filled = [value for value in values if value != NONE]
    if len(set(filled)) <= _MOST_NUMBERS or not all(map(is_number, filled)):
        return _frequent(values)
    numbers = np.array([float(value) if value != NONE else np.nan for value in values])
    return _quarters(numbers)


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return NONE
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return text or NONE


def _frequent(values: Iterable[str]) -> np.ndarray:
    """The values, the rarer ones of too many as one."""
    listed = list(values)
    counts = Counter(listed)
    if len(counts) > MOST_VALUES:
        kept = set(sorted(counts, key=lambda value: (-counts[value], value))[: MOST_VALUES - 1])
        listed = [value if value in kept else OTHER for value in listed]
    return np.array(listed, dtype=object)


def _quarters(numbers: np.ndarray) -> np.ndarray:
    """The quarter of the numbers that each is in, named by its ends; equal numbers stay together."""
    known = ~np.isnan(numbers)
    edges = np.unique(np.quantile(numbers[known], np.arange(1, _PARTS) / _PARTS, method="lower"))
    parts = np.searchsorted(edges, numbers[known])
    names = np.full(len(numbers), NONE, dtype=object)
    inside = names[known]
    for part in np.unique(parts):
        members = numbers[known][parts == part]
        low, high = f"{members.min():g}", f"{members.max():g}"
        inside[parts == part] = low if low == high else f"{low} to {high}"
    names[known] = inside
    return names
