"""Whether one model is better than another: both answered the same rows, and the rows are resampled for both together.

The interval of a difference is BCa, as in `statistics`; its p-value is the level at which that interval just touches
the null, so the two tell the same. Of accuracy, the share of right rows, only the rows count on which one model is
right and the other wrong. Its p-value is McNemar's, "Note on the sampling error of the difference between correlated
proportions or percentages", Psychometrika 12 (1947), pages 153-157, in the mid-p form, which Fagerland, Lydersen and
Laake, "The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC
Medical Research Methodology 13:91 (2013), found to keep its level, unlike the asymptotic form, and to lose less power
than the exact one.

Differences are ours minus theirs. Of some scores less is better, such as the loss: a `gain` is the difference with the
sign that makes more better.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
from scipy.stats import binom, gamma

from pipeline.evaluation import statistics
from pipeline.evaluation.examples import Examples
from pipeline.evaluation.statistics import Resampled, resample
from pipeline.params import Evaluate
from pipeline.scores import less_is_better

SEED = 0
POWER = 0.8
_NORMAL = NormalDist()
_PER_TARGET = ("loss", "perplexity", "token_accuracy")


@dataclass(frozen=True)
class Difference:
    """How far a score of ours lies above theirs.

    Attributes:
        difference: ours minus theirs.
        low: lower end of its interval; None where every resample gives the same difference.
        high: upper end, likewise.
        p_value: two-sided, of the null that there is no difference; None where nothing is known of the spread.
        smallest: the true difference that as many rows would show as significant four times out of five (Bloom,
            "Minimum Detectable Effects", Evaluation Review 19 (1995), pages 547-556); None where no difference would
            be, or nothing is known of the spread.
        rows: how many rows both answered.
    """

    difference: float
    low: float | None
    high: float | None
    p_value: float | None
    smallest: float | None
    rows: int


@dataclass(frozen=True)
class Pair:
    """Two models' scores on the same resamples of the same rows.

    Attributes:
        won: rows that we have right and they have wrong; 0 for a task without right and wrong rows.
        lost: the other way round.
    """

    ours: Resampled
    theirs: Resampled
    won: int
    lost: int

    @classmethod
    def of(cls, ours: Examples, theirs: Examples, n_resamples: int) -> Self:
        """Resample two models' answers to the same rows, which stand in the same order."""
        assert np.array_equal(ours.keys, theirs.keys), "a paired comparison needs the same rows in the same order"
        right, also_right = (examples.task.right(examples.predictions) for examples in (ours, theirs))
        return cls(
            resample(ours.task, ours.predictions, n_resamples, SEED),
            resample(theirs.task, theirs.predictions, n_resamples, SEED),
            0 if right is None or also_right is None else int((right & ~also_right).sum()),
            0 if right is None or also_right is None else int((also_right & ~right).sum()),
        )

    @property
    def scores(self) -> list[str]:
        """The names of the scores that both have."""
        return [name for name in self.ours.values if name in self.theirs.values]

    def difference(self, score: str, confidence_level: float) -> Difference:
        """The difference of a score, with its interval at this level, and what a test at this level says of it."""
        value, alpha = self.ours.values[score] - self.theirs.values[score], 1 - confidence_level
        low, high = self._bound(score, alpha / 2), self._bound(score, 1 - alpha / 2)
        return Difference(
            value + 0.0,
            low if low is None else min(low, value),
            high if high is None else max(high, value),
            self._p_value(score),
            self._smallest(score, alpha),
            self.ours.examples,
        )

    def bound(self, score: str, level: float) -> float | None:
        """The one-sided bound that the gain exceeds with the probability `level`: what is left of it at worst.

        Returns:
            None where every resample gives the same difference. Accuracy always has a bound.
        """
        if less_is_better(score):
            upper = self._bound(score, level)
            return None if upper is None else -upper
        return self._bound(score, 1 - level)

    def p_value_of_gain(self, score: str, above: float) -> float | None:
        """One-sided, of the null that the gain is `above` or less; `above` is minus the margin of non-inferiority.

        Returns:
            None where every resample gives the same difference.
        """
        found = self._distribution(score)
        if found is None:
            return None
        return 1 - found.tail(-above) if less_is_better(score) else found.tail(above)

    def _distribution(self, score: str) -> statistics.Distribution | None:
        return statistics.paired(self.ours, self.theirs, score)

    def _bound(self, score: str, tail: float) -> float | None:
        found = self._distribution(score)
        if found is not None:
            return found.bound(tail)
        return self._bound_without_spread(tail) if score == self.ours.share_of_rows else None

    def _bound_without_spread(self, tail: float) -> float:
        """Of accuracy, where all rows agree in how the models differ (in no row, or in all the same way).

        The exact bound of Clopper and Pearson on the share of rows that do otherwise, none of which was seen, taken
        at its worst: each of them moves the difference by one row, or by two where all rows differ.
        """
        unseen = 1.0 - float(min(tail, 1 - tail) ** (1 / self.ours.examples))
        value = (self.won - self.lost) / self.ours.examples
        other = unseen * (1 if value == 0 else 2)
        return max(value - other, -1.0) if tail < 0.5 else min(value + other, 1.0)

    def _p_value(self, score: str) -> float | None:
        if score == self.ours.share_of_rows:
            return mcnemar(self.won, self.lost)
        found = self._distribution(score)
        if found is not None:
            below = found.tail(0.0)
            return min(1.0, 2 * min(below, 1 - below))
        return 1.0 if self.ours.values[score] == self.theirs.values[score] else None

    def _smallest(self, score: str, alpha: float) -> float | None:
        found = self._distribution(score)
        spread = 0.0 if found is None else float(found.resamples.std())
        smallest = (_NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(POWER)) * spread
        if score == self.ours.share_of_rows:
            smallest = max(smallest, _fewest_rows(alpha) / self.ours.examples)
            return smallest if smallest <= 1 else None
        return smallest or None


def differences(ours: Examples, theirs: Examples, settings: Evaluate) -> dict[str, Difference]:
    """The paired difference of every score of two models that answered the same rows, in the same order."""
    pair = Pair.of(ours, theirs, settings.n_resamples)
    return {score: pair.difference(score, settings.confidence_level) for score in pair.scores}


def per_other_targets(ours: Examples, theirs: Examples, scores: Iterable[str]) -> list[str]:
    """Those of these scores that cannot be compared: means over targets, of which the same rows have other numbers.

    Tokens are such targets: another tokenizer, or another length at which texts are cut, makes more or fewer of them.
    """
    counts = [examples.predictions.get("targets") for examples in (ours, theirs)]
    if counts[0] is None or counts[1] is None or np.array_equal(counts[0], counts[1]):
        return []
    return [score for score in scores if score in _PER_TARGET]


def mcnemar(won: int, lost: int) -> float:
    """McNemar's two-sided mid-p value of the null that a row that only one model has right is as often the other's."""
    fewer, differing = min(won, lost), won + lost
    return float(min(1.0, 2 * binom.cdf(fewer - 1, differing, 0.5) + binom.pmf(fewer, differing, 0.5)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p-values, adjusted so that one below alpha by mere chance among all of them is no likelier than alpha.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6 (1979),
    pages 65-70. It asks nothing of how the tests hang together.
    """
    adjusted, highest = {}, 0.0
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for place, name in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - place) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def _fewest_rows(alpha: float) -> float:
    """The rows, on average, on which one model alone must be right for McNemar's test to see it with our power.

    With `n` rows, all won, the mid-p value is 0.5 ** n; and a count whose mean is the quantile of a gamma distribution
    is `n` or more with that probability (it is nearly Poisson's, as these rows are few among many).
    """
    needed = math.ceil(math.log2(1 / alpha))
    return float(gamma.ppf(POWER, needed))
