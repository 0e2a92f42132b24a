import pytest

from pipeline.metrics.answers import exact_match, f1


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The Eiffel Tower", ["eiffel tower"]),
        ("  eiffel   tower. ", ["Eiffel Tower!"]),
        ("`axis`", ["axis"]),
        ("U.S.", ["US"]),
        ("Tower", ["Eiffel", "a tower"]),
        ("", []),
        ("the", []),
        ("", ["the"]),
    ],
)
def test_case_articles_punctuation_and_white_space_do_not_count(answer: str, right: list[str]) -> None:
    assert exact_match(answer, right) == f1(answer, right) == 1


@pytest.mark.parametrize(
    ("answer", "right", "share"),
    [
        ("Eiffel Tower", ["tower"], 2 / 3),
        ("the tall tower in Paris", ["tower"], 0.4),
        ("tower tower", ["tower of tower hill"], 4 / 6),
        ("Eiffel Tower", ["bridge", "tower", "tall tower in Paris"], 2 / 3),
        ("theatre", ["atre"], 0),
        ("something", [], 0),
        ("", ["something"], 0),
        ("an", ["something", "the"], 0),
    ],
)
def test_f1_counts_words_in_common_with_the_nearest_right_answer(answer: str, right: list[str], share: float) -> None:
    assert f1(answer, right) == pytest.approx(share)
    assert exact_match(answer, right) == 0
