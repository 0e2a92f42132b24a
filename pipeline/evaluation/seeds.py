"""The difference of two ways to train, each tried with several seeds: what chance in training adds is counted in.

Rows and seeds are resampled on their own, as in Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1
(2007), pages 386-411: the rows for all runs together, the seeds for each side. Of n seeds n - 1 are drawn, without
which the spread of few would come out too small: Rao and Wu, "Resampling inference with complex survey data", Journal
of the American Statistical Association 83 (1988), pages 231-241. Why seeds are counted in at all: Bouthillier and
others, "Accounting for Variance in Machine Learning Benchmarks", Proceedings of Machine Learning and Systems 3 (2021).
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from pipeline.evaluation.examples import Examples
from pipeline.evaluation.paired import POWER, SEED, Difference
from pipeline.evaluation.statistics import Distribution, Resampled, resample
from pipeline.params import Evaluate

_NORMAL = NormalDist()


def differences(ours: Sequence[Examples], theirs: Sequence[Examples], settings: Evaluate) -> dict[str, Difference]:
    """The difference of the mean of every score over the seeds, ours minus theirs.

    Args:
        ours: the answers of two or more runs that differ in their seed alone, all to the same rows in the same order.
        theirs: likewise, of another way to train; the same rows.
    """
    rows = ours[0].keys
    assert all(np.array_equal(rows, examples.keys) for examples in (*ours, *theirs)), "all answered the same rows"
    drawn = [[_resampled(examples, settings) for examples in side] for side in (ours, theirs)]
    generators = np.random.default_rng(SEED).spawn(2)
    picked = [
        _picked(len(side), settings.n_resamples, generator) for side, generator in zip(drawn, generators, strict=True)
    ]
    return {score: _difference(score, drawn, picked, settings) for score in drawn[0][0].values}


def _resampled(examples: Examples, settings: Evaluate) -> Resampled:
    return resample(examples.task, examples.predictions, settings.n_resamples, SEED)


def _picked(seeds: int, n_resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each seed is drawn in each resample, (n_resamples, seeds); all once where there is but one."""
    if seeds == 1:
        return np.ones((n_resamples, 1))
    return generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), n_resamples).astype(np.float64)


def _difference(
    score: str, drawn: Sequence[Sequence[Resampled]], picked: Sequence[np.ndarray], settings: Evaluate
) -> Difference:
    values = [float(np.mean([run.values[score] for run in side])) for side in drawn]
    jackknife = [np.mean([run.jackknife[score] for run in side], axis=0) for side in drawn]
    resamples = [
        np.average(np.stack([run.resamples[score] for run in side], axis=1), axis=1, weights=weights)
        for side, weights in zip(drawn, picked, strict=True)
    ]
    value, alpha = values[0] - values[1], 1 - settings.confidence_level
    rows = drawn[0][0].examples
    found = Distribution.of(value, resamples[0] - resamples[1], jackknife[0] - jackknife[1])
    if found is None:
        return Difference(value, None, None, 1.0 if value == 0 else None, None, rows)
    below = found.tail(0.0)
    spread = float(found.resamples.std())
    return Difference(
        value,
        min(found.bound(alpha / 2), value),
        max(found.bound(1 - alpha / 2), value),
        min(1.0, 2 * min(below, 1 - below)),
        (_NORMAL.inv_cdf(1 - alpha / 2) + _NORMAL.inv_cdf(POWER)) * spread,
        rows,
    )
