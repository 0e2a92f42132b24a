"""The headline says what the numbers say."""

import pytest

from pipeline.evaluation.verdict import compared, headline, strongest
from tests.evaluation.findings import interval, metrics

OPENING = "Test accuracy is 80.0% (95% interval 78.0% to 82.0%)"
AGAINST = "the strongest baseline, words & <trees>"


@pytest.mark.parametrize(
    ("difference", "width", "said"),
    [
        (0.05, 0.02, f"better than {AGAINST}, by more than noise: +5.0 points (+3.0 to +7.0)"),
        (-0.05, 0.02, f"worse than {AGAINST}, by more than noise: −5.0 points (−7.0 to −3.0)"),
        (0.01, 0.02, f"not clearly better than {AGAINST}: the difference of +1.0 points (−1.0 to +3.0) may be noise"),
        (-0.01, 0.02, f"not clearly worse than {AGAINST}: the difference of −1.0 points (−3.0 to +1.0) may be noise"),
        (0.02, 0.02, f"not clearly better than {AGAINST}: the difference of +2.0 points (+0.0 to +4.0) may be noise"),
    ],
)
def test_compares_with_the_strongest_baseline(difference: float, width: float, said: str) -> None:
    assert headline(metrics(difference, width)) == f"{OPENING}, {said}."


def test_says_the_score_alone_where_there_is_nothing_to_compare_with() -> None:
    assert headline({**metrics(), "baselines": {}, "versus": {}}) == f"{OPENING}."


def test_says_the_level_that_was_asked_for() -> None:
    assert "(99.5% interval" in headline({**metrics(), "confidence_level": 0.995})


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (0.0, f"the same as {AGAINST}, in every resample"),
        (1.0, f"+100.0 points against {AGAINST} (no interval: every resample gives the same difference)"),
    ],
)
def test_says_that_there_is_no_interval_instead_of_claiming_certainty(difference: float, said: str) -> None:
    found = metrics()
    found["test"]["accuracy"] = {"value": 1.0, "low": None, "high": None}
    found["versus"]["words & <trees>"]["accuracy"] = {"difference": difference, "low": None, "high": None}
    assert headline(found) == (f"Test accuracy is 100.0% (no interval: every resample gives the same score), {said}.")


def test_a_score_that_is_no_number_cannot_be_compared() -> None:
    found = metrics()
    found["test"]["accuracy"] = {"value": None, "low": None, "high": None}
    found["versus"]["words & <trees>"]["accuracy"] = {"difference": None, "low": None, "high": None}
    assert headline(found) == f"Test accuracy is –, which cannot be compared with {AGAINST}."


def test_compared_are_a_few_flat_numbers() -> None:
    assert compared(metrics()) == {
        "accuracy": 0.8,
        "f1_macro": 0.79,
        "loss": 0.6,
        "accuracy_low": 0.78,
        "accuracy_high": 0.82,
        "baseline": 0.75,
        "lead": 0.05,
        "lead_low": 0.03,
        "lead_high": 0.07,
    }


def test_what_is_not_defined_is_not_compared() -> None:
    found = {**metrics(), "baselines": {}, "versus": {}}
    found["test"] |= {"accuracy": {"value": 1.0, "low": None, "high": None}}
    found["test"] |= {"loss": {"value": None, "low": None, "high": None}}
    assert compared(found) == {"accuracy": 1.0, "f1_macro": 0.79}


def test_the_strongest_is_the_best_by_the_first_score_and_of_equals_the_last() -> None:
    found = metrics()
    assert strongest(found) == "words & <trees>"
    found["baselines"]["majority"]["accuracy"] = interval(0.99)
    assert strongest(found) == "majority"
    found["baselines"]["words & <trees>"]["accuracy"] = interval(0.99)
    assert strongest(found) == "words & <trees>"
    found["baselines"]["words & <trees>"]["accuracy"] = {"value": None, "low": None, "high": None}
    assert strongest(found) == "majority"


def test_a_score_of_which_less_is_better_is_judged_so() -> None:
    found = metrics()
    del found["slices"]
    found["test"] = {"perplexity": interval(12.5, 0.25)}
    found["baselines"] = {"unigrams": {"perplexity": interval(80.0)}, "bigrams": {"perplexity": interval(30.0)}}
    found["versus"] = {"bigrams": {"perplexity": interval(-17.5, 0.5, "difference")}}
    assert strongest(found) == "bigrams"
    assert headline(found) == (
        "Test perplexity is 12.50 (95% interval 12.25 to 12.75), better than the strongest baseline, bigrams, by more "
        "than noise: −17.50 (−18.00 to −17.00)."
    )
