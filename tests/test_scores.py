"""What a score's name says."""

import pytest

from pipeline.scores import decimals, ends_at_one, fitting, gain, is_share, less_is_better, number, percent, readable


@pytest.mark.parametrize("name", ["loss", "perplexity", "calibration_error", "bits_per_byte", "mse", "mae", "my_error"])
def test_less_is_better(name: str) -> None:
    assert less_is_better(name)
    assert not is_share(name)
    assert gain(name, 0.5) == -0.5
    assert gain(name, 0.0) == 0.0


@pytest.mark.parametrize("name", ["accuracy", "f1_macro", "precision", "exact_match", "rouge1", "token_accuracy"])
def test_shares_are_read_in_percent(name: str) -> None:
    assert is_share(name)
    assert ends_at_one(name)
    assert gain(name, 0.5) == 0.5
    assert readable(name, 0.8012) == "80.1%"


def test_other_scores_are_read_as_numbers() -> None:
    assert readable("perplexity", 12.345678) == "12.35"
    assert ends_at_one("pearson")
    assert not ends_at_one("bleu")
    assert readable("pearson", -0.25) == "−0.250"
    assert readable("bleu", None) == "–"


def test_a_value_has_as_many_decimals_as_tell() -> None:
    assert fitting("accuracy", 0.72345) == "0.723"
    assert fitting("perplexity", -227.0341, "+") == "−227.0"
    assert fitting("mse", 0.01234, "+") == "+0.0123"


def test_numbers_have_thousands_a_minus_and_a_dash_for_none() -> None:
    assert number(1234.5, 1) == "1,234.5"
    assert number(-0.000412, 6) == "−0.000412"
    assert number(0.5, 2, "+") == "+0.50"
    assert number(None, 3) == fitting("mse", None) == "–"


def test_percent() -> None:
    assert [percent(value) for value in (0.8012, 0.0, 1.0, None)] == ["80.1%", "0.0%", "100.0%", "–"]


@pytest.mark.parametrize(
    ("value", "places"),
    [(1234.5, 0), (123.4, 1), (-12.3, 2), (1.2, 3), (0.9, 3), (0.05, 4), (0.00041, 6), (0.0, 3), (None, 3)],
)
def test_decimals_of_a_number(value: float | None, places: int) -> None:
    assert decimals([value]) == places


def test_decimals_of_numbers_one_below_the_other() -> None:
    assert decimals([0.01, None, 250.0, float("inf")]) == 1
    assert decimals([0.01], "f1") == decimals([0.01], "pearson") == 3
    assert decimals([0.01], "f1", more=1) == decimals([], more=1) == 4
    assert [decimals([value], more=1) for value in (1234.5, 1.5, 0.87, 0.043, 0.00041)] == [1, 4, 4, 4, 6]
