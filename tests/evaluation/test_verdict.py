"""The headline says what the numbers say."""

import pytest

from pipeline.evaluation.verdict import headline, percent, strongest
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


def test_a_single_row_has_no_interval_and_no_comparison() -> None:
    found = metrics()
    found["test"]["accuracy"] = {"value": 1.0, "low": None, "high": None}
    found["versus"]["words & <trees>"]["accuracy"] = {"difference": 1.0, "low": None, "high": None}
    assert headline(found) == f"Test accuracy is 100.0%, which cannot be compared with {AGAINST}."


def test_the_strongest_is_the_best_by_the_first_score_and_of_equals_the_last() -> None:
    found = metrics()
    assert strongest(found) == "words & <trees>"
    found["baselines"]["majority"]["accuracy"] = interval(0.99)
    assert strongest(found) == "majority"
    found["baselines"]["words & <trees>"]["accuracy"] = interval(0.99)
    assert strongest(found) == "words & <trees>"
    found["baselines"]["words & <trees>"]["accuracy"] = {"value": None, "low": None, "high": None}
    assert strongest(found) == "majority"


def test_percent() -> None:
    assert [percent(value) for value in (0.8012, 0.0, 1.0, None)] == ["80.1%", "0.0%", "100.0%", "–"]
