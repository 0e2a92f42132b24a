"""Several seeds a side: chance in training widens the interval, and equal ways to train are rarely told apart."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation import paired, seeds
from pipeline.evaluation.examples import Examples
from pipeline.params import Evaluate
from pipeline.tasks.base import Predictions
from pipeline.tasks.text_classification import TextClassification
from tests.evaluation.test_paired import answered

SETTINGS = Evaluate(n_resamples=400)


class Accuracy(TextClassification):  # type: ignore[misc]
    """One score alone, which is quick to count."""

    def scores(self, predictions: Predictions) -> dict[str, float]:
        return {"accuracy": float((predictions["target"] == predictions["prediction"]).mean())}


def trained(draw: np.random.Generator, rows: np.ndarray, lead: float, n_seeds: int, luck: float) -> list[Examples]:
    """Runs whose chance to be right on a row is the row's own, plus the lead, plus the luck of the seed."""
    chances = [np.clip(rows + lead + draw.normal(0, luck), 0, 1) for _ in range(n_seeds)]
    return [answered(draw.random(len(rows)) < chance) for chance in chances]


def test_the_luck_of_seeds_widens_the_interval() -> None:
    draw = np.random.default_rng(0)
    rows = draw.beta(4, 2, 1000)
    ours, theirs = (trained(draw, rows, lead, 4, 0.05) for lead in (0.03, 0.0))
    found = seeds.differences(ours, theirs, SETTINGS)["accuracy"]
    means = [np.mean([run.task.scores(run.predictions)["accuracy"] for run in side]) for side in (ours, theirs)]
    assert found.difference == pytest.approx(means[0] - means[1])
    assert found.low is not None
    assert found.high is not None
    one = paired.differences(ours[0], theirs[0], SETTINGS)["accuracy"]
    assert one.low is not None
    assert one.high is not None
    # The standard error of a difference of means of 4 seeds with a spread of 0.05 is 0.035, four of them 0.14.
    assert 0.05 < found.high - found.low < 0.2
    assert found.low < found.difference < found.high


def test_ways_to_train_that_are_equal_are_told_apart_about_as_rarely_as_it_says() -> None:
    """The rate over 150 pairs of four seeds (5% over 400); a test that sees the rows alone is wrong far more often."""
    draw = np.random.default_rng(3)
    alarms = alone = 0
    for _ in range(150):
        rows = draw.beta(4, 2, 150)
        ours, theirs = (trained(draw, rows, 0.0, 4, 0.08) for _ in range(2))
        quick = [[replace(run, task=Accuracy(run.task.labels)) for run in side] for side in (ours, theirs)]
        p_value = seeds.differences(*quick, Evaluate(n_resamples=150))["accuracy"].p_value
        assert p_value is not None
        alarms += p_value < 0.05
        p_of_one = paired.mcnemar(*_discordant(ours[0], theirs[0]))
        alone += p_of_one < 0.05
    assert alarms / 150 < 0.12
    assert alone > 2 * alarms


def _discordant(ours: Examples, theirs: Examples) -> tuple[int, int]:
    right = [run.predictions["target"] == run.predictions["prediction"] for run in (ours, theirs)]
    return int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())


def test_the_same_runs_do_not_differ_and_the_answer_is_the_same_on_every_run() -> None:
    draw = np.random.default_rng(1)
    runs = trained(draw, np.full(80, 0.7), 0.0, 3, 0.02)
    found = seeds.differences(runs, runs, SETTINGS)
    assert found == seeds.differences(runs, runs, SETTINGS)
    assert found["accuracy"].difference == 0
    assert found["accuracy"].p_value is not None
    assert found["accuracy"].p_value > 0.8
