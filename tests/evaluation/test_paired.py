"""Paired differences: right about noise as often as they say, and sensible where there is next to nothing to say."""

from statistics import NormalDist

import numpy as np
import pytest

from pipeline.evaluation.examples import Examples
from pipeline.evaluation.paired import Pair, differences, holm, mcnemar
from pipeline.params import Evaluate
from pipeline.tasks.text_classification import TextClassification

TASK = TextClassification(("a", "b", "c"))
SETTINGS = Evaluate(n_resamples=500)


def answered(right: np.ndarray, loss: np.ndarray | None = None, seed: int = 0) -> Examples:
    """Examples that are answered rightly where `right` says so."""
    draw, rows = np.random.default_rng(seed), len(right)
    target = draw.integers(0, 3, rows)
    predictions = {
        "target": target,
        "prediction": np.where(right, target, (target + 1) % 3),
        "score": np.full(rows, 0.5),
        "loss": np.where(right, 0.2, 1.5) + draw.normal(0, 0.05, rows) if loss is None else loss,
    }
    names = np.array([str(row) for row in range(rows)], dtype=object)
    return Examples(TASK, names, names, predictions, {})


def rivals(draw: np.random.Generator, rows: int, lead: float) -> tuple[Examples, Examples]:
    """Two models of which each errs on 30% of the rows, mostly the same ones, the first on `lead` fewer."""
    hard = draw.random(rows) < 0.25
    ours, theirs = (np.where(hard, draw.random(rows) < 0.2, draw.random(rows) < 0.87 + add) for add in (lead, 0.0))
    noise = draw.normal(0, 0.3, rows)
    losses = [np.where(right, 0.3, 1.6) + noise + draw.normal(0, 0.2, rows) for right in (ours, theirs)]
    return answered(ours, losses[0]), answered(theirs, losses[1])


@pytest.mark.parametrize(
    ("won", "lost", "p_value"),
    [
        (1, 7, 0.0390625),  # Fagerland and others (2013), airway hyper-responsiveness: 0.039
        (7, 1, 0.0390625),
        (0, 0, 1.0),
        (3, 3, 1.0),
        (1, 0, 0.5),
        (5, 0, 0.03125),
    ],
)
def test_mcnemar_agrees_with_published_and_exact_numbers(won: int, lost: int, p_value: float) -> None:
    assert mcnemar(won, lost) == pytest.approx(p_value, abs=1e-12)


def test_mcnemar_of_many_rows_is_near_the_chi_square_form() -> None:
    won, lost = 1200, 1090
    z = (won - lost) / np.sqrt(won + lost)
    assert mcnemar(won, lost) == pytest.approx(2 * NormalDist().cdf(-z), abs=2e-4)


def test_holm_agrees_with_the_example_by_hand() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.8, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_equal_models_are_told_apart_no_oftener_than_one_time_in_twenty() -> None:
    """The rate of false alarms over 400 pairs; its standard error is 1.1 points."""
    draw = np.random.default_rng(11)
    alarms = dict.fromkeys(("accuracy", "f1_macro", "mcc", "loss"), 0)
    for _ in range(400):
        found = differences(*rivals(draw, 200, 0.0), Evaluate(n_resamples=200))
        for score in alarms:
            p_value = found[score].p_value
            assert p_value is not None
            alarms[score] += p_value < 0.05
    assert all(0.015 <= count / 400 <= 0.08 for count in alarms.values()), alarms


def test_a_bound_holds_as_often_as_it_says_and_the_smallest_difference_is_seen_four_times_in_five() -> None:
    draw = np.random.default_rng(5)
    lead, rows = 0.105, 250
    truth = 0.75 * lead
    held = seen = 0
    smallest = []
    for _ in range(300):
        pair = Pair.of(*rivals(draw, rows, lead), 200)
        bound = pair.bound("accuracy", 0.9)
        assert bound is not None
        held += bound <= truth
        found = pair.difference("accuracy", 0.95)
        assert found.p_value is not None
        assert found.smallest is not None
        seen += found.p_value < 0.05
        smallest.append(found.smallest)
    assert 0.85 <= held / 300 <= 0.95
    assert np.mean(smallest) == pytest.approx(truth, abs=0.01), "the lead was chosen to be the smallest difference"
    assert 0.7 <= seen / 300 <= 0.9


def test_the_interval_touches_zero_where_the_p_value_is_its_level() -> None:
    pair = Pair.of(*rivals(np.random.default_rng(3), 400, 0.03), 2000)
    for score in ("f1_macro", "mcc", "loss"):
        p_value = pair.difference(score, 0.95).p_value
        assert p_value is not None
        touching = pair.difference(score, 1 - p_value)
        assert min(abs(touching.low or 0.0), abs(touching.high or 0.0)) < 2e-3, score


def test_of_the_loss_less_is_a_gain() -> None:
    rows = np.ones(300, dtype=bool)
    noise = np.random.default_rng(0).normal(0, 0.1, 300)
    pair = Pair.of(answered(rows, 0.4 + noise), answered(rows, 0.6 + noise[::-1]), 500)
    found = pair.difference("loss", 0.95)
    assert found.high is not None
    assert found.high < 0
    bound = pair.bound("loss", 0.95)
    assert bound is not None
    assert 0.15 < bound < 0.2
    assert pair.p_value_of_gain("loss", 0.0) == pytest.approx(0.0, abs=1e-6)
    assert pair.p_value_of_gain("loss", 0.3) == pytest.approx(1.0, abs=1e-6)
    back = Pair.of(answered(rows, 0.6 + noise[::-1]), answered(rows, 0.4 + noise), 500)
    assert back.p_value_of_gain("loss", 0.0) == pytest.approx(1.0, abs=1e-6)
    worse_by_less_than_a_lot = back.p_value_of_gain("loss", -0.3)
    assert worse_by_less_than_a_lot is not None
    assert worse_by_less_than_a_lot < 0.001


def test_differences_far_beyond_the_resamples_have_small_p_values() -> None:
    """Else Holm's adjustment over many slices could never call one significant."""
    found = differences(*rivals(np.random.default_rng(1), 2000, 0.12), Evaluate(n_resamples=100))
    assert all(difference.p_value is not None and difference.p_value < 1e-6 for difference in found.values())


def test_the_same_answers_do_not_differ_and_accuracy_says_how_far_they_might() -> None:
    model = answered(np.arange(100) % 4 > 0)
    found = differences(model, model, SETTINGS)
    assert {difference.p_value for difference in found.values()} == {1.0}
    accuracy = found["accuracy"]
    assert accuracy.difference == 0.0
    # No row of 100 was answered differently: the exact bound on the share that would be.
    assert accuracy.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert accuracy.low == -accuracy.high
    # Five rows, all won, are the fewest that McNemar's test takes for more than chance; 6.7 on average are five mostly.
    assert accuracy.smallest == pytest.approx(0.0672, abs=1e-3)
    assert found["loss"].low is found["loss"].high is found["loss"].smallest is None


@pytest.mark.parametrize("won", [True, False])
def test_one_row_shows_nothing(won: bool) -> None:
    pair = Pair.of(answered(np.array([won])), answered(np.array([not won])), 100)
    found = pair.difference("accuracy", 0.95)
    assert found.difference == (1.0 if won else -1.0)
    assert found.p_value == pytest.approx(0.5)
    assert found.smallest is None
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low < 0 < found.high <= 1
    assert pair.difference("f1_macro", 0.95).p_value is None


def test_rows_in_another_order_are_refused() -> None:
    ours = answered(np.arange(50) % 2 > 0)
    with pytest.raises(AssertionError, match="same order"):
        differences(ours, ours.take(np.arange(50)[::-1]), SETTINGS)


def test_differences_are_the_same_on_every_run_and_turn_their_sign_with_the_models() -> None:
    ours, theirs = rivals(np.random.default_rng(2), 300, 0.05)
    found, again, back = (differences(*pair, SETTINGS) for pair in ((ours, theirs), (ours, theirs), (theirs, ours)))
    assert found == again
    for score, difference in found.items():
        assert back[score].difference == -difference.difference
        assert back[score].p_value == pytest.approx(difference.p_value, abs=1e-9)
