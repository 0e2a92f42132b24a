"""The intervals: right on average, the same on every run, and honest where there is nothing to say."""

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.statistics import intervals, resample, versus
from pipeline.tasks.base import Predictions
from pipeline.tasks.text_classification import TextClassification

TASK = TextClassification(("a", "b", "c"))


@dataclass(frozen=True)
class Mean:
    """As much of a task as the statistics know: the mean of a column, and a score that must agree with it."""

    labels: ClassVar[tuple[str, ...]] = ()
    share_of_rows: ClassVar[str | None] = "accuracy"

    def all_scores(self, predictions: Predictions) -> dict[str, float]:
        mean = float(predictions["target"].mean())
        return {"mean": mean, "rest": 1 - mean}


def resampled(values: np.ndarray, n_resamples: int = 500, seed: int = 0) -> Any:
    return resample(Mean(), {"target": values}, n_resamples, seed)  # type: ignore[arg-type]


def drawn(rows: int, right: float, seed: int = 0) -> Predictions:
    draw = np.random.default_rng(seed)
    target = draw.integers(0, 3, rows)
    prediction = np.where(draw.random(rows) < right, target, (target + 1) % 3)
    return {"target": target, "prediction": prediction, "score": draw.random(rows), "loss": draw.random(rows)}


def test_all_scores_of_a_resample_come_from_the_same_rows() -> None:
    found = resampled(np.random.default_rng(1).random(50))
    assert np.allclose(found.resamples["mean"] + found.resamples["rest"], 1, atol=1e-12)
    assert found.resamples["mean"].shape == (500,)
    assert len(np.unique(found.resamples["mean"])) > 400


def test_equal_seeds_give_equal_intervals_and_others_do_not() -> None:
    predictions = drawn(200, 0.8)
    first, again, other = (intervals(resample(TASK, predictions, 200, seed), 0.95) for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_agrees_with_scipy_on_a_skewed_mean(level: float) -> None:
    values = np.random.default_rng(2).exponential(1.0, 120)
    ours = intervals(resampled(values, 10_000), level)["mean"]
    theirs = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=10_000, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    assert ours["value"] == pytest.approx(values.mean(), abs=1e-6)
    assert (ours["low"], ours["high"]) == pytest.approx(tuple(theirs), abs=0.03)
    assert ours["low"] < ours["value"] < ours["high"]


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        found = intervals(resampled((draw.random(150) < 0.85).astype(float), 150), 0.9)["mean"]
        held += found["low"] <= 0.85 <= found["high"]
    assert 0.83 <= held / 200 <= 0.97


def test_a_score_that_resampling_lowers_stays_inside_its_interval() -> None:
    """Rare labels vanish from resamples: a plain percentile interval of the macro average lies too low."""
    draw = np.random.default_rng(0)
    target = draw.integers(0, 60, 150)
    prediction = np.where(draw.random(150) < 0.75, target, draw.integers(0, 60, 150))
    predictions = {"target": target, "prediction": prediction, "score": draw.random(150), "loss": draw.random(150)}
    drawn_scores = resample(TASK, predictions, 400, 0)
    found = intervals(drawn_scores, 0.5)["f1_macro"]
    assert np.quantile(drawn_scores.resamples["f1_macro"], 0.75) < found["value"]
    assert found["low"] <= found["value"] <= found["high"]


def test_a_difference_is_paired() -> None:
    """Two models that fail on nearly the same rows: surely different, although their own intervals overlap."""
    ours, theirs = drawn(400, 0.8), drawn(400, 0.8)
    lost = np.flatnonzero(theirs["prediction"] == theirs["target"])[:10]
    theirs["prediction"] = theirs["prediction"].copy()
    theirs["prediction"][lost] = (theirs["target"][lost] + 1) % 3
    one, two = (resample(TASK, predictions, 500, 0) for predictions in (ours, theirs))
    found = versus(one, two, 0.95)["accuracy"]
    assert found["difference"] == pytest.approx(10 / 400)
    assert found["low"] > 0
    assert intervals(two, 0.95)["accuracy"]["high"] > intervals(one, 0.95)["accuracy"]["low"]
    back = versus(two, one, 0.95)["accuracy"]
    assert back["difference"] == -found["difference"]
    assert back["high"] < 0


def test_a_model_does_not_differ_from_itself() -> None:
    found = resample(TASK, drawn(100, 0.7), 100, 0)
    assert set(map(tuple, (d.values() for d in versus(found, found, 0.95).values()))) == {(0.0, None, None)}


@pytest.mark.parametrize(("rows", "seed"), [(99, 0), (100, 1)])
def test_other_rows_or_resamples_cannot_be_paired(rows: int, seed: int) -> None:
    with pytest.raises(AssertionError, match="same"):
        versus(resample(TASK, drawn(100, 0.7), 10, 0), resample(TASK, drawn(rows, 0.7), 10, seed), 0.95)


@pytest.mark.parametrize(
    ("target", "prediction"),
    [([0, 0, 0, 0], [0, 0, 0, 0]), ([0, 0, 0, 0], [1, 1, 1, 1]), ([0, 0, 0, 1], [0, 0, 0, 0]), ([0, 1], [1, 0])],
    ids=["all right", "all wrong", "a rare label", "two rows"],
)
def test_constant_predictions_and_lost_labels_make_valid_json(target: list[int], prediction: list[int]) -> None:
    half = np.full(len(target), 0.5)
    predictions = {"target": np.array(target), "prediction": np.array(prediction), "score": half, "loss": half}
    found = resample(TASK, predictions, 100, 0)
    for scores in (intervals(found, 0.95), versus(found, found, 0.95)):
        assert "NaN" not in json.dumps(scores, allow_nan=False)
        pairs = [(bounds["low"], bounds["high"]) for bounds in scores.values()]
        assert all(pair == (None, None) or pair[0] < pair[1] for pair in pairs), "no interval claims certainty"


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("right", "value"), [(1.0, 1.0), (0.0, 0.0)])
def test_accuracy_without_spread_has_the_exact_interval_and_no_other_score_has_one(
    level: float, right: float, value: float
) -> None:
    predictions = drawn(40, right)
    predictions["loss"] = np.full(40, 0.1)
    found = intervals(resample(TASK, predictions, 100, 0), level)
    # With no error (or no hit) in n rows the exact bound has a closed form: the n-th root of the tail.
    far = ((1 - level) / 2) ** (1 / 40)
    low, high = (far, 1.0) if right else (0.0, 1 - far)
    assert found["accuracy"] == {
        "value": value,
        "low": pytest.approx(low, abs=1e-6),
        "high": pytest.approx(high, abs=1e-6),
    }
    without = [name for name, bounds in found.items() if bounds["low"] is None and bounds["high"] is None]
    assert set(without) >= ({"f1_macro", "mcc", "loss"} if right else {"f1_macro", "loss"})


def test_one_row_has_an_interval_for_accuracy_alone() -> None:
    found = resample(TASK, drawn(1, 1.0), 100, 0)
    assert intervals(found, 0.95)["accuracy"] == {"value": 1.0, "low": 0.025, "high": 1.0}
    assert intervals(found, 0.95)["f1_macro"] == {"value": 1.0, "low": None, "high": None}
    assert versus(found, found, 0.95)["accuracy"] == {"difference": 0.0, "low": None, "high": None}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_none_and_spares_the_others(bad: float) -> None:
    predictions = drawn(50, 0.8)
    predictions["loss"][7] = bad
    found = intervals(resample(TASK, predictions, 100, 0), 0.95)
    assert found["loss"] == {"value": None, "low": None, "high": None}
    assert found["accuracy"]["low"] is not None


def test_an_extreme_level_stays_within_what_was_drawn() -> None:
    values = np.zeros(300)
    values[0] = 1.0
    found = resampled(values, 100)
    bounds = intervals(found, 0.999999)["mean"]
    assert bounds["low"] >= 0
    assert bounds["high"] <= round(found.resamples["mean"].max(), 6)


def test_large_sets_are_left_out_in_groups() -> None:
    assert len(resampled(np.arange(1000.0), 2).jackknife["mean"]) == 200
    assert len(resampled(np.arange(30.0), 2).jackknife["mean"]) == 30
