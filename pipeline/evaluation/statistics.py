"""How sure a score is: bootstrap intervals over the examples, and paired differences between two models.

The intervals are bias-corrected and accelerated (BCa): Efron, "Better Bootstrap Confidence Intervals", Journal of
the American Statistical Association 82 (1987), pages 171-185. Plain percentiles are too low for scores that fall
when a rare label drops out of a resample, such as a macro average over many labels.
The comparison resamples both models' predictions for the same examples together, as in Koehn, "Statistical
Significance Tests for Machine Translation Evaluation" (EMNLP 2004).

A bootstrap cannot see errors that did not occur: where every resample gives the same score, it has no interval, and
one without width would claim certainty. Accuracy, a share of rows, then has the exact interval of Clopper and Pearson,
"The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial", Biometrika 26 (1934), pages 404-413.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from scipy.stats import binomtest

from pipeline.tasks.base import Predictions, Task, rows_of

Interval = dict[str, float | None]
"""`value` (or `difference`), `low` and `high`; None where one is not defined: a value that is no number, or the bounds
where every resample gives the same value."""

_DIGITS = 6
_TIE_DIGITS = 12
_JACKKNIFE_GROUPS = 200
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Resampled:
    """The scores of one model's predictions, on all examples and on the resamples.

    Attributes:
        values: each score on all examples.
        resamples: each score on every resample, (n_resamples,).
        jackknife: each score without one group of examples, (groups,).
        examples: how many examples there are.
        share_of_rows: the score that is a share of rows, if there is one.
        seed: what drew the resamples. Equal seeds and examples mean the same resamples, whatever the model.
    """

    values: dict[str, float]
    resamples: dict[str, np.ndarray]
    jackknife: dict[str, np.ndarray]
    examples: int
    share_of_rows: str | None
    seed: int


def resample(task: Task, predictions: Predictions, n_resamples: int, seed: int) -> Resampled:
    """Score the predictions, `n_resamples` resamples of their examples, and the jackknife's subsets of them."""
    examples = rows_of(predictions)
    assert examples > 0, "there is nothing to score"
    return Resampled(
        task.all_scores(predictions),
        _scores(task, predictions, _drawn(examples, n_resamples, seed)),
        _scores(task, predictions, _left_out(examples, seed)),
        examples,
        task.share_of_rows,
        seed,
    )


def intervals(resampled: Resampled, confidence_level: float) -> dict[str, Interval]:
    """The interval of every score: its `value`, `low` and `high`."""
    found: dict[str, Interval] = {}
    for name, value in resampled.values.items():
        distribution = Distribution.of(value, resampled.resamples[name], resampled.jackknife[name])
        bounds = _bounds(value, distribution, confidence_level)
        if name == resampled.share_of_rows and bounds["low"] is None:
            bounds = _exact(value, resampled.examples, confidence_level)
        found[name] = {"value": _plain(value), **bounds}
    return found


def versus(ours: Resampled, theirs: Resampled, confidence_level: float) -> dict[str, Interval]:
    """The paired `difference` (ours minus theirs) of every score that both have, with its `low` and `high`."""
    same = (ours.examples, ours.seed) == (theirs.examples, theirs.seed)
    assert same, "a paired comparison needs the same examples and the same resamples"
    found: dict[str, Interval] = {}
    for name in (name for name in ours.values if name in theirs.values):
        difference = ours.values[name] - theirs.values[name]
        bounds = _bounds(difference, paired(ours, theirs, name), confidence_level)
        found[name] = {"difference": _plain(difference), **bounds}
    return found


def paired(ours: Resampled, theirs: Resampled, score: str) -> "Distribution | None":
    """The distribution of the difference of a score, ours minus theirs, on the same resamples; None without spread."""
    return Distribution.of(
        ours.values[score] - theirs.values[score],
        ours.resamples[score] - theirs.resamples[score],
        ours.jackknife[score] - theirs.jackknife[score],
    )


def _drawn(examples: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(n_resamples):
        yield generator.integers(0, examples, examples)


def _left_out(examples: int, seed: int) -> Iterator[np.ndarray]:
    """All examples but one group, for each group.

    Groups, not single examples: the skewness of a group's influence is that of an example's over the root of the
    group's size, so the acceleration comes out the same, at a bounded cost.
    """
    if examples == 1:
        return
    shuffled = np.random.default_rng(seed).permutation(examples)
    groups = np.arange(examples) % min(examples, _JACKKNIFE_GROUPS)
    for group in range(groups.max() + 1):
        yield shuffled[groups != group]


def _scores(task: Task, predictions: Predictions, subsets: Iterator[np.ndarray]) -> dict[str, np.ndarray]:
    """All scores of a subset come from the same rows, so that each resample is one possible test set."""
    scored = [task.all_scores({name: column[rows] for name, column in predictions.items()}) for rows in subsets]
    names = task.all_scores(predictions)
    return {name: np.array([scores[name] for scores in scored], np.float64) for name in names}


@dataclass(frozen=True)
class Distribution:
    """Where a value may lie: its resamples, with the corrections of BCa.

    Attributes:
        resamples: the finite ones, at least one of which differs from another.
    """

    value: float
    resamples: np.ndarray
    bias: float
    acceleration: float

    @classmethod
    def of(cls, value: float, resamples: np.ndarray, jackknife: np.ndarray) -> Self | None:
        """The distribution of a value; None where it is no number, or every resample gives the same."""
        # Rounded, so that shares that are equal but for their last bit count as ties.
        finite = np.round(resamples[np.isfinite(resamples)], _TIE_DIGITS)
        if not (math.isfinite(value) and len(finite) and np.ptp(finite) > 0.5 * 10**-_DIGITS):
            return None
        bias = _NORMAL.inv_cdf(_share_below(round(value, _TIE_DIGITS), finite))
        return cls(value, finite, bias, _acceleration(jackknife[np.isfinite(jackknife)]))

    def bound(self, tail: float) -> float:
        """The bound below which the truth lies with the probability `tail`, in [0, 1]."""
        return float(np.quantile(self.resamples, self._level(tail)))

    def tail(self, null: float) -> float:
        """The probability with which the truth lies below `null`: the inverse of `bound`, and a one-sided p-value.

        Equation 15.34 of Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 15.4. Further out
        than the resamples reach, which would end at 1 / (2 * resamples), the normal curve of their spread goes on.
        """
        place = _NORMAL.inv_cdf(_share_below(null, self.resamples))
        if not self.resamples.min() <= null <= self.resamples.max():
            beyond = float((null - self.resamples.mean()) / self.resamples.std())
            place = min(place, beyond) if beyond < 0 else max(place, beyond)
        stretch = 1 + self.acceleration * (place - self.bias)
        if stretch <= 0:
            return float(place > self.bias)
        return _NORMAL.cdf((place - self.bias) / stretch - self.bias)

    def _level(self, tail: float) -> float:
        shifted = self.bias + _NORMAL.inv_cdf(tail)
        stretch = 1 - self.acceleration * shifted
        return _NORMAL.cdf(self.bias + shifted / stretch) if stretch > 0 else float(shifted > 0)


def _share_below(value: float, resamples: np.ndarray) -> float:
    """The share of the resamples below a value: half of the ties, as accuracy moves in steps; never 0 or 1."""
    below = float(np.mean(resamples < value) + np.mean(resamples == value) / 2)
    edge = 0.5 / len(resamples)
    return min(max(below, edge), 1 - edge)


def _bounds(value: float, found: Distribution | None, confidence_level: float) -> dict[str, float | None]:
    if found is None:
        return {"low": None, "high": None}
    low, high = found.bound((1 - confidence_level) / 2), found.bound((1 + confidence_level) / 2)
    # Of a score that resampling lowers much, the corrected bounds may both lie above the value. It belongs to them.
    return {"low": _plain(min(low, value)), "high": _plain(max(high, value))}


def _exact(share: float, examples: int, confidence_level: float) -> dict[str, float | None]:
    """The interval of Clopper and Pearson for a share of the examples."""
    bounds = binomtest(round(share * examples), examples).proportion_ci(confidence_level, method="exact")
    return {"low": _plain(float(bounds.low)), "high": _plain(float(bounds.high))}


def _acceleration(jackknife: np.ndarray) -> float:
    """A sixth of the skewness of the examples' influence over its root (equation 6.6 of the paper), or 0."""
    if len(jackknife) == 0:
        return 0.0
    influence = jackknife.mean() - jackknife
    squares = float((influence**2).sum())
    # Equal scores differ by rounding alone, and its skewness means nothing.
    if squares < 1e-18:
        return 0.0
    return float((influence**3).sum() / (6 * squares**1.5))


def _plain(value: float) -> float | None:
    """A JSON number, without the last bits that differ between machines; None for what JSON cannot say."""
    return round(value, _DIGITS) + 0.0 if math.isfinite(value) else None
